import dataclasses

from bench.efficiency.records import COLUMNS, Record


def test_columns_start_with_the_documented_ones() -> None:
    assert ", ".join(COLUMNS).startswith(
        "mixer, implementation, preset, precision, execution, pass, seconds, frames, batch, parameters, status, "
        "latency_ms, latency_ms_mean, latency_ms_p05, latency_ms_p95, samples, peak_memory_gib, error, "
    )


def test_name_is_what_the_command_line_calls_it(record: Record) -> None:
    assert dataclasses.replace(record, mixer="sa", implementation="sdpa").name == "sa/sdpa"
