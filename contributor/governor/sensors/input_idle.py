"""How long nobody has touched keyboard, mouse or touchpad.

On Linux three ways are tried, the best first: X's screen saver extension; logind's idle hint, which desktops set after
a while of their own choosing; and the interrupt counters of input devices, which only tell whether something happened
between two looks. Windows and macOS are asked by one call each; these two are not tested on such machines.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from contributor.governor.sensors.command import answer_of
from contributor.governor.sensors.sensor import Reading, nothing

__all__ = ["InputSensor", "InterruptIdle", "input_interrupts", "logind_idle_s"]

ASK_AGAIN_S = 60.0
INPUT_DEVICE = re.compile(r"i8042|keyboard|mouse|touchpad|trackpoint|[xeuo]hci|i2c_hid|i2c_designware|hid", re.I)


class InputSensor:
    """Seconds since the last input."""

    name: ClassVar[str] = "input"
    fields: ClassVar[tuple[str, ...]] = ("input_idle_s",)
    every_s: ClassVar[float] = 1.0

    def __init__(self) -> None:
        self._interrupts = InterruptIdle()
        self._xscreensaver: Callable[[], float | None] | None = None
        self._logind_silent_until_s = 0.0

    def read(self) -> Reading:
        if sys.platform == "win32":
            idle_s = _windows_idle_s()
        elif sys.platform == "darwin":
            idle_s = _macos_idle_s()
        else:
            idle_s = self._linux()
        if idle_s is None:
            return nothing(self.fields, "no desktop session and no input device answers on this machine")
        return Reading({"input_idle_s": idle_s})

    def _linux(self) -> float | None:
        if os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            self._xscreensaver = self._xscreensaver or _open_xscreensaver()
            found = self._xscreensaver()
            if found is not None:
                return found
        path = Path("/proc/interrupts")
        counted = None
        if path.is_file():
            counted = self._interrupts.look(input_interrupts(path.read_text()), time.monotonic())
        hinted = None
        if time.monotonic() >= self._logind_silent_until_s:
            hinted = _logind()
            if hinted is None:  # no such service: a process every second to hear that again is not worth it
                self._logind_silent_until_s = time.monotonic() + ASK_AGAIN_S
        told = [idle_s for idle_s in (counted, hinted) if idle_s is not None]
        return min(told) if told else None


class InterruptIdle:
    """Idle time from counters that move when somebody types. The first look counts as input, to be careful."""

    def __init__(self) -> None:
        self._count: int | None = None
        self._moved_s = 0.0

    def look(self, count: int | None, now_s: float) -> float | None:
        """Seconds since the counters last moved; None without such devices."""
        if count is None:
            return None
        if count != self._count:
            self._count, self._moved_s = count, now_s
        return now_s - self._moved_s


def input_interrupts(text: str) -> int | None:
    """Interrupts so far of everything in /proc/interrupts that may be an input device; None if there is none.

    A mouse on USB shares its counter with the disk beside it, so idle time may be found too short, never too long.
    """
    heading, *lines = text.splitlines()
    cpus = len(heading.split())
    total, seen = 0, False
    for line in lines:
        _, _, rest = line.partition(":")
        columns = rest.split()
        counts, described = columns[:cpus], " ".join(columns[cpus:])
        if INPUT_DEVICE.search(described) and all(count.isdigit() for count in counts):
            total, seen = total + sum(int(count) for count in counts), True
    return total if seen else None


def logind_idle_s(hint: str | None, since: str | None, now_us: int) -> float | None:
    """Idle time from logind's two properties as busctl prints them, "b true" and "t 1700000000000000"."""
    if hint is None or since is None:
        return None
    idle, since_us = hint.split()[-1] == "true", since.split()[-1]
    if not since_us.isdigit() or int(since_us) == 0:
        return None  # no session has ever set a hint
    return max(0.0, (now_us - int(since_us)) / 1e6) if idle else 0.0


def _logind() -> float | None:
    manager = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
    both = answer_of("busctl", "get-property", *manager, "IdleHint", "IdleSinceHint")
    if both is None or len(both.splitlines()) != 2:
        return None
    hint, since = both.splitlines()
    return logind_idle_s(hint, since, time.time_ns() // 1000)


class _XScreenSaverInfo(ctypes.Structure):
    _fields_ = (
        ("window", ctypes.c_ulong),
        ("state", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("til_or_since", ctypes.c_ulong),
        ("idle_ms", ctypes.c_ulong),
        ("event_mask", ctypes.c_ulong),
    )


def _open_xscreensaver() -> Callable[[], float | None]:
    """A function that asks the X server; it answers None for ever where there is no server or no extension."""
    x11_name, xss_name = ctypes.util.find_library("X11"), ctypes.util.find_library("Xss")
    if x11_name is None or xss_name is None:
        return lambda: None
    x11, xss = ctypes.CDLL(x11_name), ctypes.CDLL(xss_name)
    x11.XOpenDisplay.restype = x11.XDefaultRootWindow.restype = ctypes.c_void_p
    x11.XDefaultRootWindow.argtypes = [ctypes.c_void_p]
    display = x11.XOpenDisplay(None)
    if not display:
        return lambda: None
    info, root = _XScreenSaverInfo(), x11.XDefaultRootWindow(display)
    xss.XScreenSaverQueryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_XScreenSaverInfo)]

    def ask() -> float | None:
        return float(info.idle_ms) / 1000 if xss.XScreenSaverQueryInfo(display, root, ctypes.byref(info)) else None

    return ask


class _LastInput(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint), ("at_ms", ctypes.c_uint))


def _windows_idle_s() -> float | None:
    if sys.platform != "win32":
        return None  # nowhere else is there a windll
    last = _LastInput(ctypes.sizeof(_LastInput), 0)
    if not ctypes.windll.user32.GetLastInputInfo(ctypes.byref(last)):
        return None
    return float((ctypes.windll.kernel32.GetTickCount() - last.at_ms) % 2**32) / 1000


def _macos_idle_s() -> float | None:
    name = ctypes.util.find_library("ApplicationServices")
    if name is None:
        return None
    ask = ctypes.CDLL(name).CGEventSourceSecondsSinceLastEventType
    ask.restype, ask.argtypes = ctypes.c_double, [ctypes.c_int32, ctypes.c_uint32]
    hardware_state, any_event = 1, 0xFFFFFFFF
    return float(ask(hardware_state, any_event))
