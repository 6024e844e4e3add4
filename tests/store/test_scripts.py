"""Every script: how it is loaded, what its head says, and that it survives SCRIPT FLUSH."""

import re
import time

import pytest

from ferryman.decision import Finish
from ferryman.store.scripts import scripts

SCRIPTS = list(scripts().values())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.verb)
def test_a_script_says_what_it_needs_in_its_head(script):
    first, second, *rest = script.text.splitlines()
    assert first.startswith("#!lua")
    assert ("allow-oom" in first) == (script.verb != "enqueue")
    assert second.startswith(f"-- {script.verb}: ")
    head = "\n".join(rest[:12])
    assert "-- KEYS[1] prefix" in head
    assert "-- ARGV head" in head
    assert re.search(r"^-- Returns ", head, re.MULTILINE)
    assert "@include" not in script.text
    assert max(len(line) for line in script.text.splitlines()) <= 100


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.verb)
def test_no_script_decodes_json_or_searches_the_keyspace(script):
    assert "cjson.decode" not in script.text
    assert not re.search(r"call\('(KEYS|SCAN|SORT)'", script.text)


def test_every_verb_works_again_after_script_flush(world):
    """A restart of Redis or SCRIPT FLUSH: what is not known is loaded and asked again."""
    store, hand = world.store, world.worker()

    def flushed(act, *args, **options):
        store.command("SCRIPT", "FLUSH")
        return act(*args, **options)

    flushed(world.enqueue, "a", "b")
    flushed(store.pause, "default")
    flushed(store.resume, "default")
    assert [job.id for job in flushed(hand.claim, 2)] == ["a", "b"]
    assert flushed(store.progress, "w", "a", 1, 0.5, "")
    assert flushed(hand.retry, "a", delay=0.0)
    assert flushed(store.promote).promoted == 1
    assert flushed(store.beat, "sup", {"w": 1}, ["default"]).leads
    assert flushed(world.recover).recovered == 1
    assert flushed(store.sweep) == (1, [])
    assert flushed(store.cancel, "a") == "pending"
    assert flushed(store.revive, "a") == "cancelled"
    assert flushed(store.delete, "a") == "pending"
    assert flushed(store.tally, "a", {"d": {"n": 1}}) == {"d": {"n": 1}}
    assert flushed(store.register, "w2", ["default"], {})
    assert flushed(store.stats).events["created_total"] == 2


def test_a_turn_of_several_scripts_runs_each_once_after_script_flush(world):
    hand = world.running("a")
    world.enqueue("b")
    world.store.command("SCRIPT", "FLUSH")
    turn = hand.port.turn([Finish("a", 1, None, 0.01)], 5)
    assert [job.id for job in turn.jobs] == ["b"]
    assert turn.fenced == turn.unsettled == []
    assert world.stat("processed_total") == 1


def test_two_open_questions_are_answered_in_order_though_scripts_are_flushed(world):
    hand = world.running("a", "b")
    world.enqueue("c", "d")
    world.store.command("SCRIPT", "FLUSH")
    hand.port.ask([Finish("a", 1, None, 0.01)], 1)
    hand.port.ask([Finish("b", 1, None, 0.01), Finish("gone", 1, None, 0.01)], 1)
    first, second = hand.port.answer(), hand.port.answer()
    assert [job.id for job in first.jobs + second.jobs] == ["c", "d"]
    assert (first.fenced, [d.id for d in second.fenced]) == ([], ["gone"])
    assert first.unsettled == second.unsettled == []
    assert world.stat("processed_total") == 2
    assert hand.port.answer() is None


def until_begun(world, job_id):
    while world.field(job_id, "state") != "running":
        time.sleep(0.01)


def test_after_a_reset_no_answer_to_an_older_question_comes(world):
    hand = world.running("a")
    world.enqueue("b")
    hand.port.ask([Finish("a", 1, None, 0.01)], 1)
    hand.port.ask([], 0, ["b"])
    until_begun(world, "b")
    hand.port.reset()
    assert hand.port.answer() is None
    [job] = hand.turn(1, "b", adopt=True).jobs
    assert (job.id, job.attempt) == ("b", 1)
