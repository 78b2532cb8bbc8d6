"""A Chromium, controlled by Selenium and the installed chromedriver. Nothing is downloaded."""

import os

os.environ["SE_OFFLINE"] = "true"

from processes import Failed  # noqa: E402
from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import TimeoutException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.support.expected_conditions import staleness_of  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMEDRIVER = os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")
# For a container: root, no graphics card, no network.
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync""".split()
NAMES = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP allowed.example 127.0.0.1"
# A script that runs before a page's own scripts. It records what the page's policy has blocked.
WATCH = "window.violations = []; addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI));"
# The maximum number of seconds until a condition must hold.
LONG = 20


class Browser:
    """One window."""

    def __init__(self, downloads):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, NAMES):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(executable_path=CHROMEDRIVER))
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source=WATCH)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def devtools(self, command, **parameters):
        """Sends a command of the DevTools protocol, and returns its result."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def size(self, width, height):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name):
        """Sets the preferred colour scheme: light or dark."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        """Runs an async function's body in the page. Returns its result, or `error: …`."""
        wrapped = "return (async (...given) => { %s })(...arguments).catch(error => 'error: ' + error)" % script
        return self.driver.execute_script(wrapped, *arguments)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def wait(self, what, holds):
        """Waits until `holds()` is true, and returns its result. `what` describes the condition, or
        is a function that returns the description."""
        try:
            return WebDriverWait(self.driver, LONG, 0.05).until(lambda _: holds())
        except TimeoutException:
            raise Failed(f"in vain until {what() if callable(what) else what}") from None

    def follow(self, selector):
        """Clicks on something that leads to another page, and waits for that page. A form's
        response comes some time after the click."""
        page = self.one("html")
        self.one(selector).click()
        WebDriverWait(self.driver, LONG, 0.05).until(staleness_of(page))

    def text(self):
        return self.one("body").text

    def log(self):
        """What the browser's console has logged since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
