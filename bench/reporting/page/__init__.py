"""One page of a report, ``index.html``: a single file that opens anywhere without a network."""
