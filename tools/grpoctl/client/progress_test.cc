#include "tools/grpoctl/client/progress.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A run of two stages, the first of which runs.
v1::RunStatus RlStatus(int64_t step) {
  v1::RunStatus status;
  status.set_state(v1::RUN_STATE_RUNNING);
  v1::StageStatus* stage = status.add_stages();
  stage->set_name("r1_zero");
  stage->set_type("train");
  stage->set_state(v1::STAGE_STATE_RUNNING);
  stage->set_step(step);
  stage->set_num_steps(60);
  stage->set_seconds(13);
  auto& metrics = *stage->mutable_metrics();
  metrics["reward"] = 1.0234;
  metrics["rewards/math_answer/mean"] = 0.937;
  metrics["rewards/format_tags/mean"] = 0.98;
  metrics["rewards/format_tags/std"] = 0.1;
  metrics["completions/mean_length"] = 30.21;
  metrics["tokens_per_second"] = 12345.4;
  metrics["loss"] = 0.01;
  v1::StageStatus* next = status.add_stages();
  next->set_name("evaluate");
  next->set_type("evaluate");
  next->set_state(v1::STAGE_STATE_PENDING);
  next->set_num_steps(128);
  status.set_stage_remaining_seconds(75);
  return status;
}

ProgressStyle Live(int width) {
  return {.live = true, .color = false, .width = width};
}

TEST(MetricFieldsTest, ShowsOneColumnPerRuleAndNoLossBesideAReward) {
  EXPECT_THAT(MetricFields(RlStatus(1).stages(0)),
              ElementsAre("reward 1.02", "format_tags 0.98", "math_answer 0.937", "length 30.2", "12,345 tok/s"));
}

TEST(MetricFieldsTest, ShowsTheLossWhereThereIsNoReward) {
  v1::StageStatus stage;
  stage.set_type("train");
  (*stage.mutable_metrics())["loss"] = 2.5;
  EXPECT_THAT(MetricFields(stage), ElementsAre("loss 2.5"));
}

TEST(MetricFieldsTest, ShowsEvaluationsInPercent) {
  v1::StageStatus stage;
  stage.set_type("evaluate");
  auto& metrics = *stage.mutable_metrics();
  metrics["pass_at_1"] = 0.9371;
  metrics["greedy_accuracy"] = 0.991;
  metrics["reward"] = 1;
  EXPECT_THAT(MetricFields(stage), ElementsAre("pass@1 93.7 %", "greedy 99.1 %"));
}

// A trainer of another version may have stages that this build does not know.
TEST(MetricFieldsTest, ShowsNothingOfAnUnknownType) {
  v1::StageStatus stage;
  stage.set_type("of the future");
  (*stage.mutable_metrics())["reward"] = 1;
  EXPECT_THAT(MetricFields(stage), ::testing::IsEmpty());
}

TEST(StageLineTest, LiveLineHasABarAndTheTimeLeft) {
  EXPECT_EQ(
      StageLine(RlStatus(30), 0, Live(200)),
      "r1_zero  [##########----------] step 30/60  reward 1.02  format_tags 0.98  math_answer 0.937  length 30.2  "
      "12,345 tok/s  1:15 left");
}

TEST(StageLineTest, DropsFieldsThatDoNotFitButNeverTheTime) {
  for (int width = 60; width < 140; ++width) {
    const std::string line = StageLine(RlStatus(30), 0, Live(width));
    EXPECT_LT(static_cast<int>(line.size()), width);
    EXPECT_THAT(line, HasSubstr("1:15 left"));
  }
  EXPECT_LT(StageLine(RlStatus(30), 0, Live(20)).size(), 20u);
}

TEST(StageLineTest, PausedLineGivesTheReason) {
  v1::RunStatus status = RlStatus(30);
  status.set_state(v1::RUN_STATE_PAUSED);
  status.set_state_reason("reward server unreachable\x1b[2J");
  EXPECT_EQ(StageLine(status, 0, ProgressStyle{}), "r1_zero  step 30/60  paused: reward server unreachable\\x1b[2J");
}

TEST(StageLineTest, DoneStageShowsTheTimeItTook) {
  v1::RunStatus status = RlStatus(60);
  status.mutable_stages(0)->set_state(v1::STAGE_STATE_DONE);
  EXPECT_THAT(StageLine(status, 0, ProgressStyle{}), HasSubstr("took 0:13"));
}

TEST(ProgressPrinterTest, PlainLinesComeAtIntervalsAndAtTheEndOfAStage) {
  std::ostringstream out;
  FakeClock clock;
  ProgressPrinter printer(out, ProgressStyle{}, clock);
  printer.Show(RlStatus(1));
  printer.Show(RlStatus(2));
  EXPECT_THAT(out.str(), HasSubstr("step 1/60"));
  EXPECT_THAT(out.str(), Not(HasSubstr("step 2/60")));
  clock.Advance(absl::Seconds(10));
  printer.Show(RlStatus(3));
  EXPECT_THAT(out.str(), HasSubstr("step 3/60"));
  v1::RunStatus done = RlStatus(60);
  done.mutable_stages(0)->set_state(v1::STAGE_STATE_DONE);
  done.mutable_stages(1)->set_state(v1::STAGE_STATE_RUNNING);
  printer.Show(done);
  EXPECT_THAT(out.str(), HasSubstr("step 60/60"));
  // The next stage does not wait for the interval.
  EXPECT_THAT(out.str(), HasSubstr("evaluate  group 0/128"));
}

TEST(ProgressPrinterTest, AnnouncesEachChangeOfStateOnce) {
  std::ostringstream out;
  FakeClock clock;
  ProgressPrinter printer(out, ProgressStyle{}, clock);
  printer.Show(RlStatus(1));
  EXPECT_THAT(out.str(), Not(HasSubstr("run is")));
  v1::RunStatus paused = RlStatus(1);
  paused.set_state(v1::RUN_STATE_PAUSED);
  paused.set_state_reason("no worker");
  printer.Show(paused);
  printer.Show(paused);
  printer.Show(RlStatus(2));
  const std::string text = out.str();
  const size_t first = text.find("run is PAUSED: no worker\n");
  EXPECT_NE(first, std::string::npos);
  EXPECT_EQ(text.find("run is PAUSED", first + 1), std::string::npos);
  EXPECT_GT(text.find("run is RUNNING\n"), first);
}

TEST(ProgressPrinterTest, AnnouncesAFailedSaveAndItsEndOnce) {
  std::ostringstream out;
  FakeClock clock;
  ProgressPrinter printer(out, ProgressStyle{}, clock);
  v1::RunStatus status = RlStatus(1);
  status.mutable_last_checkpoint()->set_path("checkpoints/step-1");
  printer.Show(status);
  EXPECT_THAT(out.str(), Not(HasSubstr("saving")));
  status.mutable_last_checkpoint()->set_error("write x: No space left on device");
  printer.Show(status);
  printer.Show(status);
  status.mutable_last_checkpoint()->set_path("checkpoints/step-2");
  status.mutable_last_checkpoint()->clear_error();
  printer.Show(status);
  const std::string text = out.str(), failed = "SAVING FAILED, the checkpoint before stays: write x: No space left";
  ASSERT_NE(text.find(failed), std::string::npos);
  EXPECT_EQ(text.find(failed, text.find(failed) + 1), std::string::npos);
  EXPECT_THAT(text, HasSubstr("saving works again: checkpoints/step-2\n"));
}

TEST(ProgressPrinterTest, LiveLineIsRewrittenInPlaceAndStaysBelowNotes) {
  std::ostringstream out;
  FakeClock clock;
  {
    ProgressPrinter printer(out, Live(60), clock);
    printer.Show(RlStatus(1));
    printer.Note("rollout-0 ended");
  }
  const std::string line = StageLine(RlStatus(1), 0, Live(60));
  EXPECT_EQ(out.str(), "\r\x1b[K" + line + "\r\x1b[Krollout-0 ended\n" + line + "\n");
}

}  // namespace
}  // namespace grpo
