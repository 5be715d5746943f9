#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "runrig/sync/unique_fd.hpp"
#include "source_directory.hpp"
#include "support.hpp"

// scripts/leftovers, which guards the other tests, is itself shown to find what is there and to spare what is not ours.

namespace runrig {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LeftoversTest : public ::testing::Test {
 protected:
  LeftoversTest() {
    std::filesystem::create_directory(shm_);
    std::filesystem::create_directory(build_);
  }

  test::CommandResult call(const std::string& action) {
    const std::string script = (test::source_directory() / "scripts/leftovers").string();
    return test::run_command({script, action, (directory_ / "record.json").string(), build_.string()}, {},
                             std::chrono::minutes(1),
                             {"RUNRIG_LEFTOVERS_SHM=" + shm_.string(), "RUNRIG_LEFTOVERS_GRACE=0.2"});
  }
  void record() {
    const auto ran = call("record");
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
  }
  void expect_nothing_left() {
    const auto ran = call("verify");
    EXPECT_EQ(ran.exit_code, 0);
    EXPECT_THAT(ran.err, IsEmpty());
  }
  void expect_left(const std::string& what) {
    const auto ran = call("verify");
    EXPECT_EQ(ran.exit_code, 1);
    EXPECT_THAT(ran.err, HasSubstr("left behind: "));
    EXPECT_THAT(ran.err, HasSubstr(what));
  }
  void make(const std::string& name) {
    std::filesystem::create_directories((shm_ / name).parent_path());
    std::ofstream(shm_ / name) << "x";
  }
  static std::string registry() { return "runrig-" + std::to_string(::geteuid()); }

  const test::TemporaryDirectory directory_;
  const std::filesystem::path shm_ = std::filesystem::canonical(directory_.path()) / "shm";
  const std::filesystem::path build_ = std::filesystem::canonical(directory_.path()) / "build";
};

TEST_F(LeftoversTest, WhatWasThereBeforeIsNoLeftover) {
  make("runrig-test-old");
  record();
  expect_nothing_left();
}

TEST_F(LeftoversTest, ANewSegmentIs) {
  record();
  make("runrig-test-new");
  expect_left("runrig-test-new");
}

TEST_F(LeftoversTest, AnEntryOfTheRegistryIsButTheRegistryIsNot) {
  record();
  std::filesystem::create_directory(shm_ / registry());
  expect_nothing_left();
  make(registry() + "/s-abc");
  expect_left(registry() + "/s-abc");
}

TEST_F(LeftoversTest, WhatOthersNameOtherwiseIsNot) {
  record();
  make("psm_12345678");
  expect_nothing_left();
}

TEST_F(LeftoversTest, ASegmentThatAProcessFromElsewhereHasOpenIsTheirs) {
  record();
  make("runrig-test-open");
  std::filesystem::create_directory(shm_ / registry());
  {
    const UniqueFd held(::open((shm_ / "runrig-test-open").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(held);
    expect_nothing_left();
  }
  expect_left("runrig-test-open");
}

TEST_F(LeftoversTest, ASegmentNamedAfterALivingProcessFromElsewhereIsTheirs) {
  record();
  make("runrig-test-" + std::to_string(::getpid()) + "-0-abcdef");
  expect_nothing_left();
}

TEST_F(LeftoversTest, AProcessThatWasStartedFromTheBuildIsFoundEvenIfItsProgramIsDeleted) {
  record();
  const std::filesystem::path program = build_ / "sleeper";
  std::filesystem::copy("/bin/sleep", program);
  const test::Child child([&] {
    ::execl(program.c_str(), "sleeper", "60", nullptr);
    ::_exit(127);
  });
  const std::string exe = "/proc/" + std::to_string(child.pid()) + "/exe";
  ASSERT_TRUE(test::eventually([&] {
    std::error_code ignored;
    return std::filesystem::read_symlink(exe, ignored) == program;
  }));
  std::filesystem::remove(program);
  expect_left("process " + std::to_string(child.pid()));
}

TEST_F(LeftoversTest, AProcessThatEndedIsNot) {
  record();
  std::filesystem::copy("/bin/true", build_ / "short");
  ASSERT_EQ(test::run_command({(build_ / "short").string()}).exit_code, 0);
  expect_nothing_left();
}

}  // namespace
}  // namespace runrig
