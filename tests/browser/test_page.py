# SPDX-License-Identifier: MIT
"""The chat page in a real browser, on real nodes."""
import pytest
from selenium.webdriver.common.keys import Keys

from harness import DEADLINE, SLOW, Node, eventually
from tokens import FLAGS, mint

MARKUP = "<img src=x onerror=\"window.pwned = 1\"><b>bold</b>"


def test_two_nodes_one_room(cluster, open_page, room, ann, bob):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    b = open_page(cluster[1], user=bob, room=room).wait_ready()
    assert a.chip == f"Connected to {cluster[0].node_name}"
    assert b.chip == f"Connected to {cluster[1].node_name}"
    a.write("hello from the first node")
    b.wait_texts("hello from the first node")
    b.write("hello from the second node")
    both = ["hello from the first node", "hello from the second node"]
    for page in (a, b):
        page.wait_texts(*both)
    assert [sender for sender, _, _ in a.messages()] == [ann, bob]
    assert ["own" in classes.split() for _, _, classes in b.messages()] == [False, True]


def test_the_page_over_tls(tls_node, open_page, room, ann, bob):
    a, b = (open_page(tls_node, user=user, room=room).wait_ready() for user in (ann, bob))
    assert a.run("return location.protocol") == "https:"
    a.write("nobody else reads this")
    b.wait_texts("nobody else reads this")


def test_order_is_the_same_for_all(cluster, open_page, room, ann, bob):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    b = open_page(cluster[1], user=bob, room=room).wait_ready()
    for i in range(10):
        (a, b)[i % 2].write(f"line {i}")
    eventually(lambda: len(a.texts()) == 10 and a.texts() == b.texts())
    assert sorted(a.texts()) == [f"line {i}" for i in range(10)]


def test_directed_messages(cluster, open_page, room, ann, bob):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    b = open_page(cluster[1], user=bob, room=room).wait_ready()
    a.write(f"/msg {bob} for your eyes only")
    a.wait_texts("for your eyes only")
    count = eventually(lambda: b.find_all(f"[data-key='user:{ann}'] .count"))[0]
    assert count.text.split()[0] == "1"
    assert b.run("return document.title").startswith("(1) ")
    assert b.texts() == []  # it is not in the room
    b.choose(f"user:{ann}").wait_texts("for your eyes only")
    assert b.find_all(".count .unseen") == []
    b.write("thanks")
    a.wait_texts("for your eyes only", "thanks")
    a.load().wait_ready().choose(f"user:{bob}").wait_texts("for your eyes only", "thanks")


# Takes the place of the node for one request: the messages of a conversation, in three pages of which one is empty.
LONG_AGO = """
const send = WebSocket.prototype.send;
window.asked = [];
WebSocket.prototype.send = function (text) {
  const { type, with: name, before, id } = JSON.parse(text);
  if (type !== "history" || name === undefined) return send.call(this, text);
  window.asked.push(before ?? "");
  const old = (seq) => ({ pos: `1000-${seq}`, ts: 1000 + seq, type: "direct", from: name, to: "me", content: `old ${seq}` });
  const pages = {
    "": { messages: [old(7), old(8)], more: true, next: "1000-7" },
    "1000-7": { messages: [], more: true, next: "1000-5" },
    "1000-5": { messages: [old(1)], more: false },
  };
  this.onmessage({ data: JSON.stringify({ type: "history", with: name, id, ...pages[before ?? ""] }) });
};
"""


def test_a_conversation_shows_what_was_written_before(cluster, open_page, room, ann, bob):
    a = open_page(cluster[0], user=ann, room=room)
    a.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LONG_AGO})
    a.load().wait_ready()
    a.write(f"/msg {bob} new")
    a.wait_texts("old 7", "old 8", "new")
    a.find("#earlier").click()
    a.wait_texts("old 1", "old 7", "old 8", "new")
    eventually(lambda: a.find_all("#earlier") == [])
    assert a.run("return window.asked") == ["", "1000-7", "1000-5"]
    a.choose(f"room:{room}").choose(f"user:{bob}").wait_texts("old 1", "old 7", "old 8", "new")
    assert len(a.run("return window.asked")) == 3


def test_markup_is_text(cluster, open_page, connect, room, ann, bob):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    a.write(MARKUP)
    sender = connect(cluster[1], user=bob, room=room)
    sender.publish({"html": MARKUP}, room=room)
    sender.publish("see https://example.org/a?b=1. javascript:alert(1)", room=room)
    eventually(lambda: len(a.texts()) == 3)
    assert a.texts()[0] == MARKUP
    assert "onerror" in a.texts()[1]
    assert a.find_all("#log img, #log b, #log script") == []
    links = a.run("return [...document.querySelectorAll('#log .bubble a')].map((a) => [a.href, a.rel])")
    assert links == [["https://example.org/a?b=1", "noopener noreferrer"]]
    assert a.run("return window.pwned") is None


def test_a_killed_node_comes_back(cluster, open_page, connect, room, ann, bob):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    a.may_lose = True
    other = connect(cluster[1], user=bob, room=room)
    a.write("before")
    other.expect("message", content="before")
    other.publish("answer", room=room)
    a.wait_texts("before", "answer")
    cluster[0].kill()
    try:
        a.wait_chip("Reconnecting")
        assert "in " in eventually(lambda: a.find("#countdown").text)
        other.publish("missed 1", room=room)
        other.publish("missed 2", room=room)
        other.tell(ann, "missed too")
        assert a.texts() == ["before", "answer"]  # nothing is blanked
        a.write("written while away")
        eventually(lambda: "sending" in a.messages()[-1][2])
    finally:
        cluster[0].start()
    cluster[0].wait_ready()
    a.wait_chip("Connected to", deadline=DEADLINE * 4)
    a.wait_texts("before", "answer", "missed 1", "missed 2", "written while away")
    other.expect("message", content="written while away")
    other.publish("after", room=room)
    a.wait_texts("before", "answer", "missed 1", "missed 2", "written while away", "after")
    other.refuse("message", content="written while away")
    assert a.find_all(".gap") == []
    a.choose(f"user:{bob}").wait_texts("missed too")


def test_what_is_no_longer_kept_is_said(cluster, open_page, connect, room, ann, bob):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    a.may_lose = True
    other = connect(cluster[1], user=bob, room=room)
    other.publish("known", room=room)
    a.wait_texts("known")
    cluster[0].kill()
    try:
        a.wait_chip("Reconnecting")
        keys = [key for key in cluster.redis.command("KEYS", f"*{room}*") if key.endswith(b"log")]
        assert len(keys) == 1
        cluster.redis.command("DEL", *keys)
        other.publish("new", room=room)
    finally:
        cluster[0].start()
    cluster[0].wait_ready()
    a.wait_chip("Connected to", deadline=DEADLINE * 4)
    a.wait_texts("known", "new")
    rows = a.run("return [...document.querySelectorAll('#log > .message, #log > .gap')].map((e) => e.className)")
    assert ["gap" in row for row in rows] == [False, True, False]


def test_history_on_demand(cluster, open_page, connect, room, ann, bob):
    other = connect(cluster[1], user=bob, room=room)
    for i in range(120):
        other.publish(f"line {i}", room=room)
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    lines = [f"line {i}" for i in range(120)]
    a.wait_texts(*lines[70:])
    for first in (20, 0):
        a.run("document.getElementById('log').scrollTop = 0")
        a.run("document.getElementById('earlier').click()")
        a.wait_texts(*lines[first:])
    eventually(lambda: a.find_all("#earlier") == [])
    assert a.run("return document.getElementById('log').scrollTop") > 0  # what was read stays where it was


def test_scrolled_up_is_left_alone(cluster, open_page, connect, room, ann, bob):
    other = connect(cluster[1], user=bob, room=room)
    for i in range(40):
        other.publish(f"line {i}", room=room)
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    eventually(lambda: len(a.texts()) == 40)
    assert not a.find("#jump").is_displayed()
    a.run("document.getElementById('log').scrollTop = 0")
    eventually(lambda: a.find("#jump").is_displayed())
    other.publish("news", room=room)
    eventually(lambda: a.find("#jump-text").text == "1 new")
    assert a.run("return document.getElementById('log').scrollTop") == 0
    a.find("#jump").click()
    eventually(lambda: not a.find("#jump").is_displayed())
    assert a.find_all(".divider.new")


def test_name_rooms_and_commands(cluster, open_page, room, ann):
    a = open_page(cluster[0], room=room)
    a.run("localStorage.clear()")
    a.load()
    name = a.find("#name")
    assert name.is_displayed() and a.find("#name-dialog").get_attribute("open") is not None
    name.send_keys("not a name!" + Keys.ENTER)
    assert a.find("#name-dialog").get_attribute("open") is not None
    name.clear()
    name.send_keys(ann + Keys.ENTER)
    a.wait_ready()
    assert a.find("#my-name").text == ann
    a.write(f"/join {room}-2")
    eventually(lambda: a.find("#title").text == f"#{room}-2")
    a.write("/help")
    eventually(lambda: a.find_all("#log > .notice"))
    a.write("/nonsense")
    eventually(lambda: "/nonsense" in a.find("#log").text)
    assert a.texts() == []
    a.write("//escaped").wait_texts("/escaped")
    a.query = {}
    a.load().wait_ready()  # the name and the rooms are remembered
    assert a.find("#my-name").text == ann
    keys = a.run("return [...document.querySelectorAll('[data-key]')].map((e) => e.dataset.key)")
    assert keys == [f"room:{room}", f"room:{room}-2"]
    a.choose(f"room:{room}-2").wait_texts("/escaped")
    a.find("#leave").click()
    eventually(lambda: len(a.find_all("[data-key]")) == 1)
    a.run("localStorage.clear()")


def test_phone_width(cluster, open_page, room, ann):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    a.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                             {"width": 360, "height": 700, "deviceScaleFactor": 2, "mobile": True})
    a.write("wide " * 30 + "w" * 200)
    eventually(lambda: len(a.texts()) == 1)
    assert a.run("return document.documentElement.scrollWidth") == 360
    assert a.find("#link").is_displayed()
    assert not a.find("#side").is_displayed()
    a.find("#menu").click()
    eventually(lambda: a.find("#side").is_displayed())
    assert a.find("#menu").get_attribute("aria-expanded") == "true"
    a.find("#text").send_keys(Keys.ESCAPE)
    eventually(lambda: not a.find("#side").is_displayed())


def test_everything_has_a_name(cluster, open_page, room, ann):
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    for element in a.find_all("button, input, textarea, [role]"):
        if element.get_attribute("role") != "status" and element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")
    assert a.find("#log").aria_role == "log"
    assert a.find(".chip").aria_role == "status"
    assert a.run("return document.documentElement.lang") == "en"
    a.run("document.activeElement.blur()")
    seen = set()
    for _ in range(20):
        a.driver.switch_to.active_element.send_keys(Keys.TAB)
        seen.add(a.run("return document.activeElement.id || document.activeElement.dataset.key"))
    assert {"join-name", "talk-name", "rename", "leave", "log", "text", "send", f"room:{room}"} <= seen


def test_where_tokens_are_asked_for_the_page_asks_too(open_page, room, ann):
    node = Node(**FLAGS, auth_leeway=0)
    try:
        a = open_page(node, room=room)
        field = a.find("#token")
        eventually(field.is_displayed)
        field.send_keys("nonsense" + Keys.ENTER)
        eventually(lambda: a.find("#token-help").text == "This is no token")
        field.clear()
        field.send_keys(mint(ann, secret="x" * 40) + Keys.ENTER)  # somebody else has signed it
        eventually(lambda: a.find("#token-help").text == "no valid token was shown in time")
        token = mint(ann, seconds=6 * SLOW)
        a.find("#token").send_keys(token + Keys.ENTER)
        a.wait_ready()
        assert a.find("#my-name").text == ann
        a.write("hello")
        a.wait_texts("hello")
        eventually(lambda: a.find("#token-help").text == "the token has expired, come back with a fresh one")
        assert a.find("#token-dialog").get_attribute("open") is not None
        assert token not in a.run("return JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    finally:
        node.stop()


@pytest.mark.parametrize("path, kind", [
    ("/", "text/html"), ("/style.css", "text/css"), ("/page.mjs", "text/javascript"),
    ("/sdk/chatnode.mjs", "text/javascript"), ("/favicon.svg", "image/svg+xml")])
def test_the_policy_is_sent_with_each_file(cluster, path, kind):
    answer = cluster[0].get(path)
    assert answer.status == 200
    assert answer.headers["content-type"].split(";")[0] == kind
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = cluster[0].get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_the_policy_holds(cluster, open_page, room, ann):
    """Also the proof that a violation would be noticed by the other tests."""
    a = open_page(cluster[0], user=ann, room=room).wait_ready()
    a.run("""
        const script = document.createElement("script");
        script.textContent = "window.pwned = 1";
        document.body.append(script);""")
    found = eventually(a.problems)
    assert found[0].startswith("policy: script-src")
    assert a.run("return window.pwned") is None
    with pytest.raises(AssertionError):
        a.assert_quiet()
    a.run("window.problems = []")
    a.driver.get_log("browser")
