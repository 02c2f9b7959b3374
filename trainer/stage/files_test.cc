#include "trainer/stage/files.h"

#include <fstream>

#include "common/status_testing.h"
#include "configs/load.h"
#include "data/sources.h"

namespace grpo {
namespace {

class RunFilesTest : public ::testing::Test {
 protected:
  // A run folder with one file of problems.
  void Write(const std::string& path, const std::string& answer) {
    std::ofstream(path) << "{\"problem\": \"1+1?\", \"answer\": \"" << answer << "\"}\n";
  }
  std::string HashOf(const std::string& path) {
    const auto section = ParseConfigText("{path: " + path + "}", "test.yaml");
    return (*MakeDataSource({.source = "jsonl", .artifact = "", .options = *section}, ""))->content_sha256();
  }

  const std::string folder_ = ::testing::TempDir();
  RunConfig config_;
};

TEST_F(RunFilesTest, DataThatChangedWhileTheRunWentOnAreRefused) {
  const std::string path = folder_ + "/files_problems.jsonl";
  Write(path, "2");
  ASSERT_OK_AND_ASSIGN(config_.data["problems"].options, ParseConfigText("{path: " + path + "}", "test.yaml"));
  const std::string hash = HashOf(path);
  const RunFiles files(config_, folder_, {{"problems", hash}}, {});
  EXPECT_OK(files.OpenData("problems"));
  Write(path, "3");
  EXPECT_STATUS(files.OpenData("problems"), absl::StatusCode::kDataLoss,
                "data.problems has changed since the run began: its SHA-256 was " + hash);
}

TEST_F(RunFilesTest, WhatAStageWroteIsReadFromTheRunFolderAndMustBeWhatItWrote) {
  config_.artifacts["traces"].path = "files_traces.jsonl";
  config_.data["traces"].artifact = "traces";
  const std::string path = RunFiles(config_, folder_, {}, {}).ArtifactPath("traces");
  EXPECT_EQ(path, folder_ + "/files_traces.jsonl");
  Write(path, "2");
  EXPECT_OK(RunFiles(config_, folder_, {}, {{"traces", HashOf(path)}}).OpenData("traces"));
  // No stage has written it.
  EXPECT_STATUS(RunFiles(config_, folder_, {}, {}).OpenData("traces"), absl::StatusCode::kDataLoss,
                "data.traces has changed");
}

}  // namespace
}  // namespace grpo
