"""The live line and what it says."""

import io

import pytest

from jaxlin.train.progress import Meter, Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


SPEED = {"seconds_per_step": 2.0, "tokens_per_second": 1234.5}


def test_a_terminal_gets_one_live_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    progress = Progress(100, out)
    progress.say("hello")
    progress.show(1, 5.0, {})
    progress.show(10, 4.5, SPEED)
    progress.say("note")
    progress.show(11, 4.4, SPEED)
    progress.close()
    assert out.getvalue() == (
        "hello\n"
        "\r\x1b[Kstep 1/100  loss 5.0000"
        "\r\x1b[Kstep 10/100  loss 4.5000  1,234 tokens/s  3 min 00 s left"
        "\r\x1b[Knote\n"
        "\r\x1b[Kstep 11/100  loss 4.4000  1,234 tokens/s  2 min 58 s left\n"
    )


def test_a_narrow_terminal_is_not_overrun(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    out = Terminal()
    Progress(100, out).show(10, 4.5, SPEED)
    assert out.getvalue() == "\r\x1b[Kstep 10/100  loss 4"


def test_elsewhere_plain_lines():
    out = io.StringIO()
    Progress(100, out).show(10, 4.5, SPEED)
    assert out.getvalue() == "step 10/100  loss 4.5000  1,234 tokens/s  3 min 00 s left\n"


def test_a_closed_output_does_not_stop_the_run():
    out = io.StringIO()
    progress = Progress(100, out)
    out.close()
    progress.show(1, 5.0, {})
    progress.say("x")


def test_the_meter_leaves_pauses_out():
    now = [0.0]
    meter = Meter(lambda: now[0])
    now[0] = 50.0  # compilation
    assert meter.look(1, 100, waited=3.0) == {}
    now[0] = 54.0
    assert meter.look(3, 100, waited=4.0) == {
        "seconds_per_step": 2.0,
        "tokens_per_second": 50.0,
        "input_wait_share": 0.25,
    }
    now[0] = 100.0  # an evaluation
    meter.start(3, waited=9.0)
    now[0] = 101.0
    assert meter.look(4, 100, waited=9.0)["seconds_per_step"] == pytest.approx(1.0)
    assert meter.look(4, 100, waited=9.0) == {}


@pytest.mark.parametrize(
    "seconds, text", [(44.6, "45 s"), (725.0, "12 min 05 s"), (12000.0, "3 h 20 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
