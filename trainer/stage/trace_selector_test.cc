// Which completions of a group become traces, and what their lines say.
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "trainer/stage/traces.h"
#include "trainer/stage/traces_testing.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

std::vector<std::string> Completions(const GroupTraces& group) {
  std::vector<std::string> texts;
  for (const ordered_json& trace : group.traces) texts.push_back(trace.at("completion"));
  return texts;
}

TEST(TraceSelectorTest, KeepsWhatTheRewardAcceptsAndSaysWhyNotTheRest) {
  std::vector<v1::ScoredCompletion> samples;
  for (int i = 0; i < 8; ++i) samples.push_back(Sample(i, "text " + std::to_string(i)));
  samples[1].mutable_score()->set_excluded(true);
  samples[2].mutable_completion()->set_finish_reason(v1::FINISH_REASON_LENGTH);
  samples[3].mutable_score()->mutable_rules(0)->set_value(0);
  samples[4].mutable_score()->mutable_rules(1)->set_value(0.5);
  samples[5].mutable_completion()->set_text("\xff");
  samples[6].mutable_completion()->set_text("text 0");
  samples[7].mutable_completion()->set_finish_reason(v1::FINISH_REASON_STOP_STRING);
  const GroupTraces group = TraceSelector(StageDefaults()).Select(Group(3, "Q", samples));
  EXPECT_THAT(Completions(group), ElementsAre("text 0", "text 7"));
  EXPECT_THAT(group.rejected, ElementsAre(Pair("duplicate", 1), Pair("malformed", 1), Pair("not_utf8", 1),
                                          Pair("unfinished", 1), Pair("unscored", 1), Pair("wrong", 1)));
  EXPECT_EQ(group.num_tokens, 16);
}

TEST(TraceSelectorTest, AnyFormWillDoWithoutAFormatRule) {
  v1::ScoredCompletion sample = Sample(0, "12");
  sample.mutable_score()->mutable_rules(1)->set_value(0);
  TraceSelector::Options options = StageDefaults();
  EXPECT_TRUE(TraceSelector(options).Select(Group(0, "Q", {sample})).traces.empty());
  options.format_rule = "";
  EXPECT_EQ(TraceSelector(options).Select(Group(0, "Q", {sample})).traces.size(), 1);
}

TEST(TraceSelectorTest, CapsEachProblemAndForgetsNoDuplicateAcrossProblems) {
  TraceSelector::Options options = StageDefaults();
  options.max_traces_per_problem = 2;
  TraceSelector selector(options);
  const GroupTraces first = selector.Select(Group(0, "Q", {Sample(0, "a"), Sample(1, "b"), Sample(2, "c")}));
  EXPECT_THAT(Completions(first), ElementsAre("a", "b"));
  EXPECT_THAT(first.rejected, ElementsAre(Pair("over_cap", 1)));
  // The same problem once more in the data, and another with the same answer.
  EXPECT_THAT(selector.Select(Group(1, "Q", {Sample(0, "a")})).rejected, ElementsAre(Pair("duplicate", 1)));
  EXPECT_THAT(Completions(selector.Select(Group(2, "R", {Sample(0, "a")}))), ElementsAre("a"));
  // Prompt and completion are told apart.
  EXPECT_THAT(Completions(selector.Select(Group(3, "", {Sample(0, "Qa")}))), ElementsAre("Qa"));
}

TEST(TraceSelectorTest, SaysWhereATraceComesFrom) {
  const ordered_json trace = TraceSelector(StageDefaults()).Select(Group(3, "Q", {Sample(2, "a")})).traces.at(0);
  EXPECT_EQ(trace, ordered_json::parse(R"({"id":"train/7#3.2","problem":"Q","answer":"12","completion":"a",
      "policy":"teacher","policy_number":120,"stage":"write","group_index":3,"sample_index":2,
      "seed":"18446744073709551615","num_tokens":1,"solve_rate":1.0,"reward":1.1,
      "rewards":{"math_answer":1.0,"format_tags":1.0},"reason":"right"})"));
}

// The same as an evaluation counts: right in any form, and our own failure is no wrong answer.
TEST(TraceSelectorTest, EveryLineSaysHowOftenItsProblemWasSolved) {
  std::vector<v1::ScoredCompletion> samples;
  for (int i = 0; i < 5; ++i) samples.push_back(Sample(i, "text " + std::to_string(i)));
  samples[1].mutable_score()->mutable_rules(0)->set_value(0);
  samples[2].mutable_score()->mutable_rules(1)->set_value(0);
  samples[3].mutable_score()->set_excluded(true);
  const GroupTraces group = TraceSelector(StageDefaults()).Select(Group(3, "Q", samples));
  ASSERT_EQ(group.traces.size(), 2u);
  for (const ordered_json& trace : group.traces) EXPECT_EQ(trace.at("solve_rate"), 0.75);
  EXPECT_EQ(group.problem, ordered_json::parse(R"({"id":"train/7","problem":"Q","answer":"12","policy":"teacher",
      "policy_number":120,"stage":"write","group_index":3,"num_samples":4,"num_solved":3,"num_kept":2,
      "solve_rate":0.75})"));
}

TEST(TraceSelectorTest, NothingIsMeasuredWhereNothingCounts) {
  v1::ScoredCompletion sample = Sample(0, "a");
  sample.mutable_score()->set_excluded(true);
  TraceSelector::Options options = StageDefaults();
  options.difficulty = {{.up_to = 1, .keep = 0}};
  const GroupTraces group = TraceSelector(options).Select(Group(0, "Q", {sample}));
  EXPECT_THAT(group.rejected, ElementsAre(Pair("unscored", 1)));
  EXPECT_FALSE(group.problem.contains("solve_rate"));
  EXPECT_FALSE(group.problem.contains("dropped"));
}

TEST(TraceSelectorTest, KeepsWhatIsPreferredInTheOrderOfTheSamples) {
  TraceSelector::Options options = StageDefaults();
  options.max_traces_per_problem = 2;
  options.select.prefer = "shortest";
  std::vector<v1::ScoredCompletion> samples = {Sample(0, "long"), Sample(1, "b"), Sample(2, "b"), Sample(3, "c")};
  samples[0].mutable_completion()->add_ids(1);
  const GroupTraces group = TraceSelector(options).Select(Group(0, "Q", samples));
  EXPECT_THAT(Completions(group), ElementsAre("b", "c"));
  EXPECT_THAT(group.rejected, ElementsAre(Pair("duplicate", 1), Pair("over_cap", 1)));
  EXPECT_EQ(group.problem.at("num_kept"), 2);
}

TEST(TraceSelectorTest, LeavesOutWhatTheTextSays) {
  Decontamination evaluation(/*ngram=*/3, /*max_occurrences=*/10);
  evaluation.Add("how many rabbits are there");
  TraceSelector::Options options = StageDefaults();
  options.select.max_tokens = 4;
  options.select.max_repeated_frac = 0.5;
  options.select.repetition_ngram = 1;
  std::vector<v1::ScoredCompletion> samples = {Sample(0, "x x x x"), Sample(1, "say how many rabbits"),
                                               Sample(2, "one two three four five"), Sample(3, "so it is")};
  // Of a text alone the words are counted.
  samples[2].mutable_completion()->clear_ids();
  const GroupTraces group = TraceSelector(options, &evaluation).Select(Group(0, "Q", samples));
  EXPECT_THAT(Completions(group), ElementsAre("so it is"));
  EXPECT_THAT(group.rejected, ElementsAre(Pair("contaminated", 1), Pair("repetitive", 1), Pair("too_long", 1)));
}

TEST(TraceSelectorTest, LeavesOutProblemsOfABand) {
  TraceSelector::Options options = StageDefaults();
  options.difficulty = {{.up_to = 0.5, .keep = 1}, {.up_to = 1, .keep = 0}};
  TraceSelector selector(options);
  v1::ScoredCompletion wrong = Sample(1, "b");
  wrong.mutable_score()->mutable_rules(0)->set_value(0);
  EXPECT_THAT(Completions(selector.Select(Group(0, "Q", {Sample(0, "a"), wrong}))), ElementsAre("a"));
  const GroupTraces easy = selector.Select(Group(1, "R", {Sample(0, "a"), Sample(1, "b")}));
  EXPECT_THAT(easy.traces, IsEmpty());
  EXPECT_THAT(easy.rejected, ElementsAre(Pair("difficulty", 2)));
  EXPECT_EQ(easy.problem.at("dropped"), "difficulty");
}

// A problem without an answer: as a worker scores it, the accuracy rule cannot read the reference.
ScoredGroup Unanswered(const std::vector<std::string>& answers) {
  std::vector<v1::ScoredCompletion> samples;
  for (const std::string& answer : answers) {
    v1::ScoredCompletion sample = Sample(static_cast<int>(samples.size()), "it is " + answer);
    sample.mutable_score()->set_excluded(true);
    v1::RuleScore& rule = *sample.mutable_score()->mutable_rules(0);
    rule.set_outcome(v1::OUTCOME_REFERENCE_UNPARSABLE);
    rule.set_value(0);
    rule.set_extracted(answer);
    samples.push_back(std::move(sample));
  }
  ScoredGroup group = Group(0, "Q", samples);
  group.lease.mutable_prompt()->clear_answer();
  return group;
}

TEST(TraceSelectorTest, TheMajorityAnswersAProblemThatHasNoAnswer) {
  TraceSelector::Options options = StageDefaults();
  options.pseudo_labels = {.min_share = 0.5, .min_margin = 0.25};
  ScoredGroup group = Unanswered({"1/2", "0.5", "7", ""});
  group.completions[1].mutable_completion()->set_text("<think>so</think> 0.5");
  const GroupTraces labelled = TraceSelector(options).Select(group);
  EXPECT_THAT(Completions(labelled), ElementsAre("it is 1/2", "<think>so</think> 0.5"));
  EXPECT_THAT(labelled.rejected, ElementsAre(Pair("wrong", 2)));
  for (const ordered_json& trace : labelled.traces) {
    EXPECT_EQ(trace.at("answer"), "1/2");
    EXPECT_EQ(trace.at("reason"), "majority");
    EXPECT_EQ(trace.at("majority_share"), 0.5);
    EXPECT_EQ(trace.at("majority_margin"), 0.25);
    EXPECT_FALSE(trace.contains("solve_rate"));
  }
  EXPECT_EQ(labelled.problem.at("answer"), "1/2");
  const GroupTraces weak = TraceSelector(options).Select(Unanswered({"1", "2", "1", "2"}));
  EXPECT_THAT(weak.rejected, ElementsAre(Pair("no_majority", 4)));
  EXPECT_EQ(weak.problem.at("dropped"), "no_majority");
  EXPECT_EQ(weak.problem.at("majority_margin"), 0);
  EXPECT_EQ(weak.problem.at("answer"), "");
  // Nobody asked for labels.
  EXPECT_THAT(TraceSelector(StageDefaults()).Select(group).rejected, ElementsAre(Pair("unscored", 4)));
}

TEST(TraceSelectorTest, OurOwnFailureDoesNotVote) {
  TraceSelector::Options options = StageDefaults();
  options.pseudo_labels = {.min_share = 0.6};
  ScoredGroup group = Unanswered({"1", "1.0", "2"});
  EXPECT_THAT(TraceSelector(options).Select(group).traces, ::testing::SizeIs(2));
  group.completions[0].mutable_score()->mutable_rules(1)->set_outcome(v1::OUTCOME_DEADLINE);
  const GroupTraces weak = TraceSelector(options).Select(group);
  EXPECT_THAT(weak.rejected, ElementsAre(Pair("no_majority", 2), Pair("unscored", 1)));
  EXPECT_EQ(weak.problem.at("num_samples"), 2);
}

// By a rule whose server leaves it out, though it scored it: the reference that is not there is not why.
TEST(TraceSelectorTest, WhatIsLeftOutByNameDoesNotVote) {
  TraceSelector::Options options = StageDefaults();
  options.pseudo_labels = {.min_share = 0.6};
  ScoredGroup group = Unanswered({"1", "1.0", "2"});
  group.completions[0].mutable_score()->mutable_rules(0)->set_outcome(v1::OUTCOME_SCORED);
  EXPECT_EQ(TraceSelector(options).Select(group).problem.at("num_samples"), 2);
}

TEST(TraceSelectorTest, WithoutAnAccuracyRuleTheAnswerIsReadFromTheText) {
  TraceSelector::Options options = {.pseudo_labels = {.min_share = 1}};
  ScoredGroup group = Unanswered({"", ""});
  group.completions[0].mutable_completion()->set_text("<answer>12</answer>");
  group.completions[1].mutable_completion()->set_text("so \\boxed{12}");
  const GroupTraces labelled = TraceSelector(options).Select(group);
  ASSERT_EQ(labelled.traces.size(), 2u);
  EXPECT_EQ(labelled.traces[0].at("answer"), "12");
}

TEST(TraceSelectorTest, ARewrittenProblemSaysWhatItWasMadeOf) {
  TraceSelector::Options options = StageDefaults();
  options.rewrites = true;
  options.data = "problems";
  v1::Prompt problem;
  problem.set_id("train/7");
  problem.set_text("How many?");
  std::vector<v1::ScoredCompletion> samples = {Sample(0, "<think>so</think> How much?"), Sample(1, "How many?"),
                                               Sample(2, "<think>no"), Sample(3, " How much? ")};
  // Right or wrong makes no difference.
  samples[0].mutable_score()->mutable_rules(0)->set_value(0);
  TraceSelector selector(options);
  const GroupTraces group = selector.Select(Group(3, "Change: How many?", samples), problem);
  EXPECT_THAT(group.rejected, ElementsAre(Pair("duplicate", 1), Pair("no_problem", 2)));
  ASSERT_EQ(group.traces.size(), 1u);
  EXPECT_EQ(group.traces[0], ordered_json::parse(R"({"id":"train/7#3.0","problem":"How much?",
      "rewritten_from":"train/7","original":"How many?","data":"problems","policy":"teacher","policy_number":120,
      "stage":"write","group_index":3,"sample_index":0,"seed":"18446744073709551615","num_tokens":1,"reward":1.1,
      "rewards":{"math_answer":0.0,"format_tags":1.0},"reason":"rewritten"})"));
  // The same problem once more, also after the run was killed.
  TraceSelector resumed(options);
  resumed.Remember(group);
  for (TraceSelector* const either : {&selector, &resumed})
    EXPECT_THAT(either->Select(Group(4, "Change: x", {Sample(0, "How much?")}), problem).rejected,
                ElementsAre(Pair("duplicate", 1)));
}

// A problem that is shorter than an n-gram is known by all of its words, whatever was thought before it.
TEST(TraceSelectorTest, ARewrittenProblemOfAnEvaluationSetIsLeftOut) {
  Decontamination evaluation(/*ngram=*/13, /*max_occurrences=*/10);
  evaluation.Add("How much?");
  TraceSelector::Options options = StageDefaults();
  options.rewrites = true;
  v1::Prompt problem;
  problem.set_text("How many?");
  const std::vector<v1::ScoredCompletion> samples = {Sample(0, "<think>so</think><answer>How much?</answer>"),
                                                     Sample(1, "<think>so</think>How long?")};
  const GroupTraces group = TraceSelector(options, &evaluation).Select(Group(0, "Change it", samples), problem);
  EXPECT_THAT(group.rejected, ElementsAre(Pair("contaminated", 1)));
  ASSERT_EQ(group.traces.size(), 1u);
  EXPECT_EQ(group.traces[0].at("problem"), "How long?");
}

TEST(TraceSelectorTest, WhatSolvesARewrittenProblemNamesTheFirst) {
  ScoredGroup group = Group(0, "Q", {Sample(0, "a")});
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(R"({"rewritten_from": "train/1"})",
                                                          group.lease.mutable_prompt()->mutable_metadata())
                  .ok());
  EXPECT_EQ(TraceSelector(StageDefaults()).Select(group).traces.at(0).at("rewritten_from"), "train/1");
}

}  // namespace
}  // namespace grpo
