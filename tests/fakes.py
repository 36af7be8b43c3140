"""Services that misbehave as they are told to: programs for `tests.server.Server`."""

NO_TEMP_FOLDER = """
import tempfile
from photo2cartoon.cli.main import main
tempfile.tempdir = "/proc/none"  # any temporary file on disk is an error
main()
"""

# On SIGUSR1 its first lane dies, as a thread does that something kills.
KILL_A_LANE = """
import ctypes, signal, threading
from photo2cartoon.cli.main import main

def kill(*_):
    (lane,) = [thread for thread in threading.enumerate() if thread.name == "lane-0"]
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(lane.ident), ctypes.py_object(SystemExit))

signal.signal(signal.SIGUSR1, kill)
main()
"""

# The first photo stays in `decode` until its caller has left, the next in `detect`, and so on to
# `encode`; each says so in a line of its own. Whatever follows is drawn as usual.
HOLD_EACH_STAGE = """
import json, sys, time
from contextlib import contextmanager
from photo2cartoon.cli.main import main
from photo2cartoon.ground.ticket import Stage, Ticket

enter, to_hold = Ticket.stage, list(Stage)[2:]

@contextmanager
def enter_and_stay(ticket, stage):
    with enter(ticket, stage):
        if to_hold and stage is to_hold[0]:
            print(json.dumps({"held": to_hold.pop(0)}), file=sys.stderr, flush=True)
            while not ticket.abandoned:
                time.sleep(0.005)
        yield

Ticket.stage = enter_and_stay
main()
"""

# Decoding takes until SIGUSR1: a file that keeps its decoder busy, as far as anybody can tell.
DECODE_FOR_LONG = """
import signal, threading
from photo2cartoon.cli.main import main
from photo2cartoon.pipeline import cropper

decode, told = cropper.decode_photo, threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: told.set())

def decode_for_long(*given):
    told.wait()
    return decode(*given)

cropper.decode_photo = decode_for_long
main()
"""
