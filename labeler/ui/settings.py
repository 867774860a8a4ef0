"""The page Settings: shows every setting of both services, and changes those that can change while they run.

It knows nothing about individual settings: their meaning comes from the comments in the settings files, and their
limits from the service, whose refusals it shows. Each control is one setting and takes effect when the user leaves it.
It shows the current value; a refused value stays with its reason, so that it can be corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import streamlit as st

from labeler import service
from labeler.errors import Problem
from labeler.ui.parts import wording as words
from labeler.ui.parts.wording import plain
from shared.settings.command_line import meanings
from shared.settings.services import (
    ChallengerMode,
    LabelerSettings,
    LogLevel,
    SecondLook,
    ServiceSettings,
    TestOrder,
    TrainerSettings,
)
from shared.wire.project import SettingView

Views = Mapping[str, SettingView]
Change = Callable[[dict[str, Any]], object]
LOG_LEVELS = list(get_args(LogLevel))
LOOK_SECONDS = 2
PROBLEMS = "settings problems"  # session key: control → why its value was refused


def page() -> None:
    """Draw the page."""
    st.write(
        "Changes take effect at once and are **kept with the project**. They apply at the next start too, "
        "unless that start gives the setting another value: in a file (`--labeler-config`, `--trainer-config`), in the "
        "environment (`FLYWHEEL_LABELER__…`, `FLYWHEEL_TRAINER__…`) or on the command line."
    )
    st.header("Training and questions", anchor=False)
    if service.current().trainer.status() is None:
        _absent()
    else:
        _trainer()
    st.header("Labeling", anchor=False)
    running = service.current().running
    choices = {"log_level": LOG_LEVELS, "test_order": list(get_args(TestOrder))}
    _settings(LabelerSettings, running.show(), running.change, meanings(LabelerSettings), choices)


@st.fragment(run_every=LOOK_SECONDS)
def _absent() -> None:
    """The trainer's part while it is offline. Uses the latest status, without a request."""
    name, what = words.away(service.current().settings.workspace, service.current().trainer.away)
    st.warning(
        f"**{name}.** Its settings can be seen and changed when it is back. Current values are kept: {plain(what)}.",
        icon=":material/cloud_off:",
    )
    if service.current().trainer.status() is not None:
        st.rerun()


def _trainer() -> None:
    trainer = service.current().trainer
    try:
        views, when = trainer.settings(), {each.name: each.when for each in trainer.strategies()}
    except Problem as problem:
        st.error(plain(problem.detail), icon=":material/cloud_off:")
        st.button("Try again")
        return
    meaning = meanings(TrainerSettings)
    chosen = when.get(views["query_strategy"].value)
    if chosen is not None:
        meaning["query_strategy"] = f"which images to ask about. {chosen}"
    choices = {
        "query_strategy": list(when),
        "challenger": list(get_args(ChallengerMode)),
        "second_look": list(get_args(SecondLook)),
    }
    _settings(TrainerSettings, views, trainer.change_settings, meaning, choices)
    with st.expander("When to use which query strategy", key="strategies"):
        rows = [{"Strategy": name, "When to use it": plain(sentence)} for name, sentence in when.items()]
        st.table(rows, border="horizontal", hide_index=True)


def _settings(
    cls: type[ServiceSettings],
    views: Views,
    change: Change,
    meaning: Mapping[str, str],
    choices: Mapping[str, list[str]],
) -> None:
    """All settings of a service: first those that can change now, then a table of the others."""
    for name, view in views.items():
        if view.changeable:
            control, text = st.columns([2, 3], vertical_alignment="center")
            with control:
                _control(cls, name, view.value, change, choices.get(name))
            text.markdown(f"{plain(meaning.get(name, ''))}  \n:small[:gray[From: {view.source}]]")
    with st.expander("Startup settings (read-only)", key=f"startup {cls.__name__}"):
        rows = [
            {
                "Setting": name,
                "Value": plain(_text(view.value)),
                "From": view.source,
                "Meaning": plain(meaning.get(name, "")),
            }
            for name, view in views.items()
            if not view.changeable
        ]
        st.table(rows, border="horizontal", hide_index=True)


def _control(cls: type[ServiceSettings], name: str, value: Any, change: Change, choices: list[str] | None) -> None:
    """One setting, with the control that suits its value."""
    key = f"{cls.service()}.{name}"
    problems: dict[str, str] = st.session_state.setdefault(PROBLEMS, {})
    words_too = name in cls.model_fields and str in get_args(cls.model_fields[name].annotation)
    switch = isinstance(value, bool)
    number = isinstance(value, int | float) and not words_too and not switch
    if key not in problems or key not in st.session_state:
        problems.pop(key, None)
        st.session_state[key] = value if number or switch else _text(value)
    given: dict[str, Any] = {"label": f"`{name}`", "key": key, "on_change": _apply, "args": (key, name, change)}
    if choices is not None:
        own = name == "query_strategy"  # users may type a mixture
        options = choices if value in choices else [*choices, value]
        st.selectbox(**given, options=options, accept_new_options=own)
    elif switch:
        st.toggle(**given)
    elif number:
        step = 1 if isinstance(value, int) else 1.0 if name.endswith("_seconds") else 0.05
        st.number_input(**given, step=step, format="%d" if isinstance(value, int) else "%g")
    else:
        st.text_input(**given, placeholder="accuracy=0.95" if isinstance(value, dict) else None)
    if key in problems:
        st.error(plain(problems[key]))


def _apply(key: str, name: str, change: Change) -> None:
    """Apply a changed control before the page is drawn again."""
    problems = st.session_state[PROBLEMS]
    try:
        change({name: st.session_state[key]})
    except Problem as problem:
        problems[key] = problem.detail
    else:
        problems.pop(key, None)


def _text(value: Any) -> str:
    """A value as written on a command line."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
