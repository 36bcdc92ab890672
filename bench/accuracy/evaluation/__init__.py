"""What predictions score: whole files, all classes, intervals over speakers."""
