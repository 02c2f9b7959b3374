"""The report of a run whose policy writes hostile completions, read by a real browser."""

import contextlib
import json
import os
import pathlib
import re
import sqlite3
import tempfile
import unittest

import browser
import harness

HOSTILE = [
    "</pre></td></table><script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\"><svg onload=\"document.title='pwned'\">",
    "\u202eright to left\u2066 and \u200bhidden",
    b"a\0b\xff\xfe not text",
    "W" * (1 << 20),
    "--> <style>body{display:none}</style> ![x](https://example.org/x.png) @all | `code` &lt;b&gt;",
]
# Phone and desktop.
WIDTHS = (390, 1280)
# Where to leave the screenshots for people to look at.
SCREENSHOTS = os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR")


def luminance(color):
    """Relative luminance of WCAG 2.2."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class ReportTest(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        """A real run, whose completions are then replaced by hostile ones."""
        scratch = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        cls.addClassCleanup(scratch.cleanup)
        cls.run_dir = pathlib.Path(scratch.name, "run")
        with harness.Run(cls.run_dir, harness.TINY) as run:
            assert run.wait() == harness.EXIT_OK, run.stderr
        with contextlib.closing(sqlite3.connect(cls.run_dir / "completions.sqlite")) as database, database:
            for number, text in enumerate(HOSTILE):
                of_problem = "group_id IN (SELECT id FROM groups WHERE prompt_id = ?)"
                database.execute(f"UPDATE samples SET completion = ? WHERE {of_problem}", (text, f"train/{number}"))
            database.execute("UPDATE groups SET prompt = ? || prompt, answer = ?", (HOSTILE[0], HOSTILE[1]))
        summary = cls.run_dir / "summary.json"
        summary.write_text(summary.read_text().replace('"name": "tiny"', '"name": "tiny<b>&"'))
        cls.written = harness.grpoctl("report", cls.run_dir)
        cls.page = cls.run_dir / "report.html"
        cls.browser = cls.enterClassContext(browser.Browser())

    def setUp(self):
        super().setUp()
        self.assertEqual(harness.EXIT_OK, self.written.returncode, self.written.stderr)

    def test_prints_what_it_wrote(self):
        for name in ("report.html", "report.md", "report"):
            self.assertIn(f"{self.run_dir / name}\n", self.written.stdout)
            self.assertTrue((self.run_dir / name).exists())

    def test_nothing_hostile_becomes_an_element(self):
        self.browser.open(self.page, 1280)
        self.assertEqual("tiny<b>& · run report", self.browser.evaluate("document.title"))
        for tag in ("script", "img", "iframe", "link", "object", "form", "b b", "pre *", "[onload]", "[onerror]", "[src]"):
            self.assertEqual(0, self.browser.evaluate(f"document.querySelectorAll({tag!r}).length"), tag)
        self.assertEqual(1, self.browser.evaluate("document.querySelectorAll('style').length"))
        text = self.browser.evaluate("document.body.innerText")
        for shown in ("<script>document.title='pwned'</script>", "onerror=", "\\xe2\\x80\\xae", "a\\x00b\\xff\\xfe", "bytes more"):
            self.assertIn(shown, text)
        for hidden in "\0\u202e\u2066\u200b":
            self.assertNotIn(hidden, text)
        self.assertLess(self.page.stat().st_size, 400_000)

    def test_policy_forbids_scripts_and_everything_from_outside(self):
        page = self.page.read_text()
        self.assertIn("content=\"default-src 'none'; style-src 'unsafe-inline'\"", page)
        self.assertNotRegex(page, r"(?i)<script|javascript:|url\(|@import")
        # The one address is the name of SVG's namespace.
        self.assertEqual({"http://www.w3.org/2000/svg"}, set(re.findall(r"https?://[^\"'\s)]+(?=\")", page)))

    def test_everything_is_there_and_has_a_size(self):
        for width in WIDTHS:
            self.browser.open(self.page, width)
            for selector, at_least in (("td", 10), ("th[scope=col]", 3), ("svg.chart", 8), ("svg .line", 8), ("pre", 12)):
                boxes = f"[...document.querySelectorAll({selector!r})].map(e => e.getBoundingClientRect())"
                # The longer side: a level line has no height.
                sides = self.browser.evaluate(f"{boxes}.map(box => Math.max(box.width, box.height))")
                self.assertGreaterEqual(len(sides), at_least, selector)
                self.assertGreater(min(sides), 8, selector)
            self.assertEqual("en", self.browser.evaluate("document.documentElement.lang"))
            labelled = "[...document.querySelectorAll('svg')].every(s => s.querySelector('title') && s.querySelector('desc'))"
            self.assertTrue(self.browser.evaluate(labelled))

    def test_page_never_scrolls_sideways(self):
        for width in WIDTHS:
            self.browser.open(self.page, width)
            self.assertEqual(width, self.browser.evaluate("document.documentElement.scrollWidth"))
            outside = (
                "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg') && "
                f"e.getBoundingClientRect().right > {width}).map(e => e.outerHTML.slice(0, 80))"
            )
            self.assertEqual([], self.browser.evaluate(outside))

    def test_is_light_by_day_and_dark_by_night(self):
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                self.browser.open(self.page, width, scheme)
                if SCREENSHOTS:
                    whole = self.browser.screenshot(whole_page=True)
                    pathlib.Path(SCREENSHOTS, f"{scheme}-{width}.png").write_bytes(whole)
                _, _, rows = browser.png_pixels(self.browser.screenshot())
                background = luminance(rows[2][2])
                heading = [luminance(pixel) for row in rows[:120] for pixel in row]
                # The text of the heading is the farthest from the background.
                text = min(heading) if scheme == "light" else max(heading)
                self.assertTrue(background > 0.85 if scheme == "light" else background < 0.03, background)
                ratio = (max(text, background) + 0.05) / (min(text, background) + 0.05)
                self.assertGreater(ratio, 7, f"{scheme} {width}")

    def test_texts_contrast_with_what_they_stand_on(self):
        measure = """[...document.querySelectorAll('td, th, dt, dd, p, pre, h1, h2, h3, small, .mark, .soft, svg text')].map(e => {
            let under = e;
            while (under && getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement;
            const style = getComputedStyle(e);
            return [e instanceof SVGElement ? style.fill : style.color, getComputedStyle(under).backgroundColor, e.className];
        })"""
        for scheme in ("light", "dark"):
            self.browser.open(self.page, 1280, scheme)
            for color, under, name in self.browser.evaluate(measure):
                front, back = (luminance([int(n) for n in re.findall(r"\d+", rgb)[:3]]) for rgb in (color, under))
                ratio = (max(front, back) + 0.05) / (min(front, back) + 0.05)
                self.assertGreaterEqual(ratio, 4.5, f"{scheme}: {color} on {under} ({name})")

    def test_markdown_holds_no_markup_of_the_policy(self):
        text = (self.run_dir / "report.md").read_text()
        pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
        self.assertGreaterEqual(len(pictures), 8)
        for picture in pictures:
            self.assertTrue((self.run_dir / picture).is_file(), picture)
        self.assertEqual({"<br>"}, set(re.findall(r"<[^>]*>", text)))
        for mark in ("https://", "@all", "`"):
            self.assertNotIn(mark, text)

    def test_pictures_stand_alone_in_both_schemes(self):
        picture = next((self.run_dir / "report").glob("*.svg"))
        for scheme, color in (("light", "rgb(61, 68, 77)"), ("dark", "rgb(196, 203, 211)")):
            self.browser.open(picture, 800, scheme)
            fill = "getComputedStyle(document.querySelector('text')).fill"
            self.assertEqual(color, self.browser.evaluate(fill))

    def test_completions_verb_shows_them_as_one_line(self):
        shown = harness.grpoctl("completions", "--run-dir", self.run_dir, "--prompt", "train/2")
        self.assertEqual(harness.EXIT_OK, shown.returncode, shown.stderr)
        self.assertIn("\\xe2\\x80\\xae", shown.stdout)
        self.assertNotIn("\u202e", shown.stdout)
        wrong = harness.grpoctl("completions", "--run-dir", self.run_dir, "--where", "rewrad < 0")
        self.assertEqual(64, wrong.returncode)
        self.assertIn("rewrad", wrong.stderr)

    def test_the_bill_says_what_the_policy_is_and_what_it_took(self):
        stages = {stage["name"]: stage for stage in json.loads((self.run_dir / "summary.json").read_text())["stages"]}
        measured = stages["measure"]["metrics"]
        # Float32 weights, all of them lent to a worker of this machine.
        self.assertEqual(4 * measured["num_parameters"], measured["weight_bytes"])
        self.assertGreater(measured["worker_peak_memory_bytes"], measured["weight_bytes"])
        self.assertEqual("tune", stages["measure"]["weights_from"])
        self.assertEqual("pretrain", stages["tune"]["weights_from"])
        makers = [stages["pretrain"], stages["tune"]]
        for stage in makers:
            self.assertEqual(1, stage["spent"]["starts"])
            self.assertGreater(stage["spent"]["tokens"], 0)
        self.browser.open(self.page, 1280)
        text = self.browser.evaluate("document.querySelector('table.evaluations').innerText")
        rows = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
        self.assertEqual(f"{sum(stage['seconds'] for stage in makers):.1f}", rows["seconds to make it"])
        self.assertEqual(f"{sum(stage['spent']['tokens'] for stage in makers):,.0f}", rows["tokens to make it"])
        for row in ("pass@1", "maj@8", "num parameters", "weight bytes", "worker peak memory bytes", "tokens per second"):
            self.assertIn(row, rows)

    def test_two_runs_stand_side_by_side(self):
        other = self.folder / "other"
        other.mkdir()
        summary = json.loads((self.run_dir / "summary.json").read_text())
        (measured,) = [stage["metrics"] for stage in summary["stages"] if stage["name"] == "measure"]
        measured["pass_at_1"], measured["pass_at_1_ci_low"], measured["pass_at_1_ci_high"] = 0.5, 0.25, 0.75
        summary["stages"][0]["policy"] = "another"
        (other / "summary.json").write_text(json.dumps(summary))
        table = harness.grpoctl("report", self.run_dir, other)
        self.assertEqual(harness.EXIT_OK, table.returncode, table.stderr)
        self.assertIn("50.0 % (25.0 to 75.0)", table.stdout)
        self.assertIn("Only in B: pretrain (another)", table.stdout)
        read = json.loads(harness.grpoctl("report", self.run_dir, other, "--output", "json").stdout)
        (figure,) = [figure for figure in read["figures"] if figure["metric"] == "pass_at_1"]
        self.assertEqual(("measure", "tuned", 0.5), (figure["stage"], figure["policy"], figure["b"]))
        self.assertAlmostEqual(figure["b"] - figure["a"], figure["difference"])
        self.assertLess(figure["low"], figure["difference"])
        self.assertLess(figure["difference"], figure["high"])
        for arguments, code in (((self.run_dir, self.folder / "no"), harness.EXIT_NO_INPUT), (("--output", "json"), 64)):
            self.assertEqual(code, harness.grpoctl("report", *arguments).returncode)

    def test_a_run_without_results_yet_has_a_report(self):
        run_dir = self.folder / "young"
        run_dir.mkdir()
        (run_dir / "config.yaml").write_bytes((self.run_dir / "config.yaml").read_bytes())
        written = harness.grpoctl("report", run_dir)
        self.assertEqual(harness.EXIT_OK, written.returncode, written.stderr)
        self.assertIn("stopped, 0 of 3 stages done", (run_dir / "report.html").read_text())
        nothing = harness.grpoctl("report", self.folder / "nothing")
        self.assertEqual(harness.EXIT_NO_INPUT, nothing.returncode, nothing.stderr)


if __name__ == "__main__":
    unittest.main()
