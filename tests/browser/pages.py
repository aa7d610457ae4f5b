# SPDX-License-Identifier: MIT
"""A window with the chat page: what a user sees and does there."""
import json
import re
import urllib.parse

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from harness import eventually

# Runs before the page's own scripts: everything that goes wrong is kept.
WATCH = """
window.problems = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.problems.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
addEventListener("error", (event) => window.problems.push(`error: ${event.message}`), true);
addEventListener("unhandledrejection", (event) => window.problems.push(`rejection: ${event.reason}`));
"""
LOST = re.compile(r"WebSocket connection to '[^']*' failed")


class Page:
    """One window. Every method brings it to the front first."""

    def __init__(self, driver, port, query, scheme="http"):
        self.driver, self.port, self.query, self.scheme = driver, port, query, scheme
        self.user = query.get("user", "nobody yet")
        self.may_lose = False  # the test breaks this page's connection
        self.window = None

    def open(self):
        self.driver.switch_to.new_window("window")
        self.window = self.driver.current_window_handle
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        return self.load()

    def load(self, **query):
        """Loads the page, by another query if one is given."""
        self.query = {**self.query, **query}
        self._front().get(f"{self.scheme}://127.0.0.1:{self.port}/?{urllib.parse.urlencode(self.query)}")
        return self

    def close(self):
        self._front().close()

    def _front(self):
        self.driver.switch_to.window(self.window)
        return self.driver

    def run(self, script, *arguments):
        return self._front().execute_script(script, *arguments)

    def find(self, selector):
        return self._front().find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector):
        return self._front().find_elements(By.CSS_SELECTOR, selector)

    # ---- doing ----

    def write(self, text):
        """Types a text, which may be a command, and presses Enter."""
        self.find("#text").send_keys(text + Keys.ENTER)
        return self

    def choose(self, key):
        """Opens a conversation of the list: "room:lobby", "user:ann"."""
        eventually(lambda: self.run("""
            const button = document.querySelector(`[data-key="${arguments[0]}"]`);
            button?.click();
            return button !== null;""", key), what=f"{key} is in the list")
        return self

    # ---- seeing ----

    @property
    def chip(self):
        return " ".join(self.run("return document.getElementById('chip-text').textContent").split())

    def wait_chip(self, text, deadline=None):
        options = {} if deadline is None else {"deadline": deadline}
        eventually(lambda: text in self.chip, what=f"the chip of {self.user} says {text!r}", **options)
        return self

    def wait_ready(self):
        """Connected, and the room's history is there."""
        self.wait_chip("Connected to")
        eventually(lambda: self.run("""
            const log = document.getElementById("log");
            return log.childElementCount > 0 && log.getAttribute("aria-busy") === "false";"""),
                   what="the room is loaded")
        return self

    def messages(self):
        """[(sender, text, classes)] of the log, from the top."""
        return [tuple(row) for row in self.run("""
            return [...document.querySelectorAll("#log .message")].map((row) =>
              [row.dataset.from, row.querySelector(".bubble").textContent, row.className]);""")]

    def texts(self):
        return [text for _, text, _ in self.messages()]

    def wait_texts(self, *expected):
        """The log shows exactly these, and all of them are sent."""
        def shown():
            rows = self.messages()
            return [text for _, text, _ in rows] == list(expected) and all("sent" in row[2].split() for row in rows)
        try:
            eventually(shown)
        except AssertionError:
            raise AssertionError(f"{self.user} sees {self.messages()}, not {expected}") from None
        return self

    def describe(self):
        """For the report of a failure."""
        try:
            state = {"chip": self.chip, "messages": self.messages()[-12:], "problems": self.problems(),
                     "text": self.find("body").text}
            return json.dumps(state, indent=1, ensure_ascii=False)
        except Exception as error:  # the window may be what failed
            return repr(error)

    def problems(self):
        return self.run("return window.problems")

    def assert_quiet(self):
        """Nothing was thrown, refused by the policy or written to the console."""
        assert self.problems() == []
        entries = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
        if self.may_lose:
            entries = [entry for entry in entries if not LOST.search(entry)]
        assert entries == []
