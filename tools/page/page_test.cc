// A report as a page and as Markdown: what a reader finds, and that nothing a model wrote becomes markup.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/page/render.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kHostile[] = "</pre><script>alert(1)</script> | [x](javascript:y) ![i](http://z/i.png) \x1b[31m";

ReportData Report() {
  ReportData data;
  data.name = "quickstart";
  data.id = "q-1";
  data.state = "finished";
  data.seed = "7";
  data.tables = {
      {.type = "evaluate",
       .title = "Evaluations",
       .rows = {{"metric", "base", "r1_zero"}, {"pass@1", "3.8 % (2.0 to 5.6)", "93.7 %"}, {"reward", "0.1"}},
       .intervals = true,
       .notes = {"r1_zero to its teacher base: 98.0 % of pass@1."}}};
  data.seconds = {{"stage", "type", "seconds"}, {"rl", "train", "50.7"}, {"sum", "", "50.7"}};
  Chart chart;
  chart.id = "sampled_1_reward";
  chart.title = "Reward, rl";
  chart.series = {{"rl", {{1, 0.1}, {2, 0.4}}}};
  data.charts = {chart};
  data.problems = {{.prompt_id = "p/1",
                    .prompt = "H35 L94",
                    .answer = "12",
                    .samples = {{.heading = "base", .reward = "0", .num_tokens = 2, .completion = "28"},
                                {.heading = "r1_zero",
                                 .right = true,
                                 .greedy = true,
                                 .reward = "1.1",
                                 .num_tokens = 1234,
                                 .completion = "<think>a\nb</think>12"}}}};
  return data;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

// Every text that comes from outside, made hostile.
ReportData HostileReport() {
  ReportData data = Report();
  for (std::string* const text :
       {&data.name, &data.id, &data.state, &data.seed, &data.tables[0].title, &data.tables[0].notes[0],
        &data.charts[0].title, &data.charts[0].series[0].name, &data.problems[0].prompt_id, &data.problems[0].prompt,
        &data.problems[0].answer, &data.problems[0].samples[0].completion}) {
    *text = kHostile;
  }
  // What ReportData promises to be printable has markup all the same.
  data.tables[0].rows[1][1] = data.tables[0].rows[0][1] = data.seconds[1][0] = data.problems[0].samples[0].heading =
      "<b>|[x](y)";
  return data;
}

TEST(ReportHtmlTest, HasEverythingInOneFile) {
  const std::string html = ReportHtml(Report());
  EXPECT_THAT(html, HasSubstr("<title>quickstart · run report</title>"));
  EXPECT_THAT(html, HasSubstr("<dt>Seed</dt><dd>7</dd>"));
  EXPECT_THAT(html, HasSubstr("<td>3.8 %<small>(2.0 to 5.6)</small></td>")) << "an interval is smaller";
  EXPECT_THAT(html, HasSubstr("In parentheses: 95 % confidence interval."));
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">reward</th><td>0.1</td><td></td></tr>"))
      << "a short row is filled";
  EXPECT_THAT(html, HasSubstr("<p>r1_zero to its teacher base: 98.0 % of pass@1.</p>"));
  EXPECT_THAT(html, HasSubstr("<h2>Training</h2>"));
  EXPECT_EQ(Count(html, "<svg"), 1u);
  EXPECT_THAT(html, HasSubstr("wrong\">✗ wrong</span><span class=\"soft\">reward 0 · 2 tokens</span>"));
  EXPECT_THAT(html, HasSubstr("right\">✓ right</span><span class=\"soft\">reward 1.1 · 1,234 tokens · greedy</span>"));
  EXPECT_THAT(html, HasSubstr("&lt;think&gt;a\nb&lt;/think&gt;12")) << "lines stay lines";
  EXPECT_THAT(html, HasSubstr("<h2>Time</h2>"));
  EXPECT_THAT(html, testing::EndsWith("</html>\n"));
}

TEST(ReportHtmlTest, AColumnOfWordsIsMarkedAndOneOfNumbersIsNot) {
  const std::string html = ReportHtml(Report());
  EXPECT_THAT(html, HasSubstr("<th scope=\"col\" class=\"word\">type</th><th scope=\"col\">seconds</th>"));
}

// No script, nothing from outside, and a policy that forbids both.
TEST(ReportHtmlTest, NothingThatAModelWroteIsMarkup) {
  const std::string html = ReportHtml(HostileReport());
  EXPECT_THAT(html, HasSubstr("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                              "'unsafe-inline'\">"));
  for (const char* const markup : {"<script", "<b>|", "\x1b"}) EXPECT_THAT(html, Not(HasSubstr(markup)));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_EQ(Count(html, "<pre>"), Count(html, "</pre>"));
  EXPECT_EQ(Count(html, "http://") + Count(html, "https://"), Count(html, "http://z/i.png") + Count(html, "www.w3.org"))
      << "only as text";
}

TEST(ReportHtmlTest, WhatThereIsNotHasNoHeading) {
  ReportData data;
  data.name = "young";
  const std::string html = ReportHtml(data);
  for (const char* const heading : {"<h2>", "<table", "<svg", "<article"}) EXPECT_THAT(html, Not(HasSubstr(heading)));
  EXPECT_THAT(html, HasSubstr("young"));
}

TEST(ReportHtmlTest, ALongCompletionIsCutAndSaysSo) {
  ReportData data = Report();
  data.problems[0].samples[0].completion = std::string(100'000, 'x');
  const std::string html = ReportHtml(data);
  EXPECT_THAT(html, AllOf(HasSubstr(std::string(1500, 'x')), Not(HasSubstr(std::string(1501, 'x')))));
  EXPECT_THAT(html, HasSubstr("(98,500 bytes more)"));
}

TEST(ReportMarkdownTest, HasTablesPicturesAndSamples) {
  const std::string text = ReportMarkdown(Report());
  EXPECT_THAT(text, testing::StartsWith("# Run quickstart\n\nId q&#45;1, seed 7, finished.\n\n"));
  EXPECT_THAT(text, HasSubstr("| metric | base | r1&#95;zero |\n|---|---:|---:|\n| pass&#64;1 | 3.8 % (2.0 to 5.6) | "
                              "93.7 % |\n| reward | 0.1 |  |\n"));
  EXPECT_THAT(text,
              HasSubstr("In parentheses: 95 % confidence interval.\n\nr1&#95;zero to its teacher base&#58; 98.0 % of "
                        "pass&#64;1.\n\n"));
  EXPECT_THAT(text, HasSubstr("![Reward, rl](report/sampled_1_reward.svg)\n"));
  EXPECT_THAT(text, HasSubstr("### p&#47;1\n\nH35 L94\n\nReference answer: 12\n\n"));
  EXPECT_THAT(text, HasSubstr("✓ right, reward 1.1, 1,234 tokens, greedy"));
  EXPECT_THAT(text, HasSubstr("&#60;think&#62;a<br>b&#60;&#47;think&#62;12"));
}

TEST(ReportMarkdownTest, NothingThatAModelWroteIsMarkup) {
  const std::string text = ReportMarkdown(HostileReport());
  for (const char* const markup : {"<script", "</pre>", "](javascript", "](http", "<b>", "\x1b"})
    EXPECT_THAT(text, Not(HasSubstr(markup)));
  // Its own picture stands, and a cell with | in it is one cell.
  EXPECT_EQ(Count(text, "]("), 1u);
  EXPECT_THAT(text, HasSubstr("&#124;"));
}

TEST(ReportMarkdownTest, WhatThereIsNotHasNoHeading) {
  ReportData data;
  data.name = "young";
  const std::string text = ReportMarkdown(data);
  EXPECT_EQ(text.find("## "), text.npos);
  EXPECT_EQ(text.find("|"), text.npos);
}

}  // namespace
}  // namespace grpo
