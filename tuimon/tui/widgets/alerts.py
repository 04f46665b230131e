"""The verdicts."""

from __future__ import annotations

from rich.segment import Segment

from tuimon.tui.draw.alerts import alert_list, tally
from tuimon.tui.draw.frame import ENDS, SIDES, framed
from tuimon.tui.draw.text import Text
from tuimon.tui.glyphs import DOT
from tuimon.tui.widgets.canvas import Canvas


class AlertsPanel(Canvas):
    """What is wrong, since when, and what to try."""

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        session, look = self.view.session, self.view.look
        alerts = session.alerts
        content = alert_list(
            alerts, self.view.alert, session.judgements, width - SIDES, height - ENDS, look
        )
        gone = len(session.past_alerts)
        foot = [Segment(f"{gone} resolved", look.dim)] if gone else None
        keys = [Segment("n", look.key), Segment("ext", look.dim), Segment(f" {DOT} ", look.faint)]
        keys = [*(keys if len(alerts) > 1 else []), Segment("e", look.key), Segment("xplain", look.dim)]
        return framed(
            content, width, height, look, title=[Segment("alerts", look.title)], value=tally(alerts, look),
            foot=foot, foot_value=keys if alerts else None,
        )  # fmt: skip
