"""Says once for every version of an image that something unusual is on it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from astrolake.batch_processing.conditional import Stored
from astrolake.batch_processing.image_state import Alert, ImageState, StateStore
from astrolake.errors import AstrolakeError

_LOG = logging.getLogger(__name__)
#: No function lives longer.
LEASE_S = 15 * 60.0


class AlertPending(AstrolakeError):
    """Another function is sending the alert of this image, or was stopped while it did."""


@dataclass(frozen=True)
class Alerter:
    """Publishes to a topic of SNS.

    Whoever writes `sending` into the state sends; so a message goes out twice only if a function is stopped
    between sending it and saying so.

    Parameters
    ----------
    client : SNS client
    topic_arn : str
        Empty to send nothing.
    states : StateStore
    clock : callable
        Seconds since 1970.
    """

    client: Any
    topic_arn: str
    states: StateStore
    clock: Callable[[], float] = time.time

    def claimed(self, state: ImageState) -> ImageState:
        """Return a state that says, once it is written, that we are sending what is due."""
        if state.alert.status != "due" or not self.topic_arn:
            return state
        alert = replace(state.alert, status="sending", until_s=self.clock() + LEASE_S)
        return replace(state, alert=alert)

    def resume(self, state: ImageState, stored: Stored) -> None:
        """Send the alert of a settled image if that is still to be done.

        Raises
        ------
        AlertPending
            When another function may be at it.
        CommitConflict
            When another function changed the state meanwhile.
        """
        if not self.topic_arn or state.alert.status not in ("due", "sending"):
            return
        if state.alert.status == "sending" and self.clock() < state.alert.until_s:
            raise AlertPending(f"the alert of {state.uri} is being sent by another function")
        claim = self.claimed(replace(state, alert=replace(state.alert, status="due")))
        self.send(claim, self.states.write(claim, stored))

    def send(self, state: ImageState, stored: Stored) -> None:
        """Send what a state says that `claimed` has made and that we have written."""
        try:
            message = json.dumps(state.alert.message, ensure_ascii=False)
            self.client.publish(TopicArn=self.topic_arn, Subject=_subject(state), Message=message)
        except Exception:
            self.states.write(replace(state, alert=replace(state.alert, status="due", until_s=0.0)), stored)
            raise
        self.states.write(replace(state, alert=Alert("sent", message=state.alert.message)), stored)
        _LOG.info("alert sent for %s: %d unusual sources", state.uri, state.alert.message["count"])


def _subject(state: ImageState) -> str:
    """Return a subject as SNS takes it: one line of ASCII, at most 100 characters."""
    name = state.uri.rsplit("/", 1)[-1].encode("ascii", "replace").decode()
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return f"astrolake: {state.alert.message['count']} unusual sources on {printable}"[:100]
