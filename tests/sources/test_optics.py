"""What optical modules write becomes a number in one unit, or a reason why it is none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.model import Reason
from watchkeeper.sources._optics import DARK, Fault, absent, dbm, lit, quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3.3", "V", 3.3),
        ("3.3Volts", "V", 3.3),
        (" 3300 mV ", "V", 3.3),
        ("31.5C", "Cel", 31.5),
        ("88.7 F", "Cel", 31.5),
        ("304.65K", "Cel", 31.5),
        ("6.5mA", "mA", 6.5),
        ("6500uA", "mA", 6.5),
        ("0.0065A", "mA", 6.5),
        ("-2.45", "dBm", -2.45),
        ("-2.45dBm", "dBm", -2.45),
        ("0.5mW", "dBm", -3.0103),
        ("500 uW", "dBm", -3.0103),
        ("5e-4W", "dBm", -3.0103),
        ("2.4e-4", "1", 2.4e-4),
        ("0.024%", "1", 2.4e-4),
    ],
)
def test_a_number_is_read_with_and_without_its_unit(text, unit, value):
    assert quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize("text", ["-inf", "-Inf dBm", "0mW", "0.00001 mW", "-infinity"])
def test_no_light_is_told_as_the_least_a_module_can_tell(text):
    assert quantity(text, "dBm") == DARK == -40.0


@pytest.mark.parametrize(
    ("text", "unit", "other"),
    [("3.3Volts", "Cel", "Volts"), ("31C", "V", "C"), ("0.5mW", "mA", "mW"), ("-2dB", "dBm", "dB")],
)
def test_another_unit_than_the_quantity_can_have_is_a_wrong_unit(text, unit, other):
    assert quantity(text, unit) == Fault(Reason.WRONG_UNIT, f"unit {unit}, not {other}")


@pytest.mark.parametrize("text", ["", " ", "N/A", "high", "3.3.3", "1,5", "0x1f", "nan", "3 3"])
def test_what_is_no_number_says_what_was_expected(text):
    assert quantity(text, "V") == Fault(Reason.NOT_A_NUMBER, "a number in V")


@pytest.mark.parametrize("text", ["N/A", "n/a ", "NA", "None", "unknown", "-"])
def test_a_module_may_say_that_it_has_no_value(text):
    assert absent(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "-inf", "N/A 1"])
def test_an_empty_text_and_a_number_are_not_the_absence_of_a_value(text):
    assert not absent(text)


def test_a_power_below_zero_is_no_number():
    assert math.isnan(dbm(-0.1))
    assert lit(-3.5) == -3.5


@given(st.floats(min_value=-39.9, max_value=8.2))
def test_milliwatts_and_dbm_are_two_spellings_of_one_power(power):
    milliwatts = 10 ** (power / 10)
    assert dbm(milliwatts) == pytest.approx(power)
    assert quantity(f"{milliwatts!r}mW", "dBm") == pytest.approx(power)


@given(st.text(max_size=20), st.sampled_from(["dBm", "mA", "V", "Cel", "1"]))
def test_any_text_is_a_value_or_a_reason(text, unit):
    found = quantity(text, unit)
    assert isinstance(found, float | Fault)
