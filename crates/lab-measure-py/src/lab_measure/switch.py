"""Whether a run is measured: what the code says, else ``LAB_MEASURE``, else whether this is CI."""

from __future__ import annotations

import os

from .errors import SwitchError

VARIABLE = "LAB_MEASURE"
WORDS = ("on", "off", "auto")


def is_on(enabled: bool | None) -> bool:
    """Returns whether to measure; ``enabled`` wins over the environment where it is not ``None``.

    Raises ``SwitchError`` when ``LAB_MEASURE`` has to be asked and is none of its words. An empty variable is as good as
    none.
    """
    if enabled is not None:
        return enabled
    word = os.environ.get(VARIABLE) or "auto"
    if word not in WORDS:
        raise SwitchError(f"`{VARIABLE}` is `{word}`: it can be `on`, `off` or `auto` (on in CI, off elsewhere)")
    return word == "on" or (word == "auto" and _is_ci())


def _is_ci() -> bool:
    # GitHub, GitLab, CircleCI, Travis and others set CI=true. Who sets it to 0 or false means that it is none.
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false")
