from __future__ import annotations

from qkb.records.faults import Fault, FaultsError


def test_a_fault_reads_like_a_compilers() -> None:
    fault = Fault("papers/2016/xnor-net.yaml", 14, "bits.weights", "write 1")
    assert str(fault) == "papers/2016/xnor-net.yaml:14: bits.weights: write 1"


def test_the_path_is_left_out_where_there_is_none() -> None:
    assert str(Fault("papers/x.yaml", 1, "", "empty")) == "papers/x.yaml:1: empty"


def test_faults_sort_by_file_line_and_path() -> None:
    faults = [Fault("b", 1, "", ""), Fault("a", 10, "", ""), Fault("a", 9, "z", ""), Fault("a", 9, "b", "")]
    assert [(fault.file, fault.line, fault.path) for fault in sorted(faults)] == [
        ("a", 9, "b"),
        ("a", 9, "z"),
        ("a", 10, ""),
        ("b", 1, ""),
    ]


def test_the_error_carries_and_prints_all_faults_sorted() -> None:
    error = FaultsError([Fault("b", 2, "", "two"), Fault("a", 1, "k", "one")])
    assert error.faults == (Fault("a", 1, "k", "one"), Fault("b", 2, "", "two"))
    assert str(error) == "a:1: k: one\nb:2: two"


def test_a_fault_is_one_line_and_steers_no_terminal() -> None:
    fault = Fault("papers/2016/a\nb\x1b[2J\udc80.yaml", 1, "k\r", "größe")
    assert str(fault) == "papers/2016/a�b�[2J�.yaml:1: k�: größe"
