// The log in children of every start method.

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "runrig/engine/log.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig {
namespace {

class LogMethodsTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  LogMethodsTest() { detail::apply({}); }
  ~LogMethodsTest() override { detail::apply({}); }

  static ProcessOptions named(std::string name) {
    ProcessOptions options;
    options.name = std::move(name);
    options.start_method = GetParam();
    return options;
  }

  // What this process and its children write to standard error meanwhile, at most what a file takes.
  template <class Body>
  std::string written_by(const Body& body) {
    const std::string path = directory_ / "stderr";
    {
      const UniqueFd file(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
      const UniqueFd former(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
      ::dup2(file.get(), STDERR_FILENO);
      body();
      ::dup2(former.get(), STDERR_FILENO);
    }
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

 private:
  const test::TemporaryDirectory directory_;
};

TEST_P(LogMethodsTest, LogToStderr_CarriesOverToProcessesWithLevelAndName) {
  const std::string text = written_by([] {
    log_to_stderr(LogLevel::warning);
    Process process(named("the-child"), [] {
      get_logger().info("not shown");
      get_logger().warning("from below");
    });
    process.start();
    process.join();
    EXPECT_EQ(process.exit_code(), 0);
  });
  EXPECT_EQ(text, "[WARNING/the-child] from below\n");
}

TEST_P(LogMethodsTest, GetLogger_WithoutHandlerHasNoneInProcessesEither) {
  const std::string text = written_by([] {
    get_logger().set_level(LogLevel::error);
    Process process(named("quiet"), [] {
      get_logger().warning("below the level");
      get_logger().error("bare");
    });
    process.start();
    process.join();
  });
  EXPECT_EQ(text, "bare\n");
}

TEST_P(LogMethodsTest, LogToStderr_CarriesOverToPoolWorkers) {
  const std::string text = written_by([] {
    log_to_stderr(LogLevel::warning);
    PoolOptions options;
    options.workers = 1;
    options.start_method = GetParam();
    Pool pool(options);
    pool.apply([] { get_logger().warning("at work"); });
    EXPECT_EQ(pool.apply([] { return parent_process()->name(); }), "MainProcess");
  });
  const std::string prefix = GetParam() == StartMethod::fork    ? "Fork"
                             : GetParam() == StartMethod::spawn ? "Spawn"
                                                                : "ForkServer";
  EXPECT_EQ(text, "[WARNING/" + prefix + "PoolWorker-1] at work\n");
}

TEST_P(LogMethodsTest, LinesOfProcessesAreWhole) {
  constexpr int writers = 3;
  constexpr int lines_each = 20;
  const std::string text = written_by([] {
    log_to_stderr(LogLevel::warning);
    std::vector<Process> processes;
    for (int i = 0; i < writers; ++i) {
      processes.emplace_back(
          named("writer-" + std::to_string(i)),
          [](char letter) {
            for (int line = 0; line < lines_each; ++line) {
              const std::size_t length = line % 2 == 0 ? 100'000 : 10;
              get_logger().warning(std::to_string(line) + " " + std::string(length, letter));
            }
          },
          static_cast<char>('a' + i));
      processes.back().start();
    }
    for (auto& each : processes) each.join();
  });
  std::map<std::string, int> next;
  std::istringstream in(text);
  for (std::string head, body; in >> head;) {
    int line = 0;
    in >> line >> body;
    ASSERT_EQ(line, next[head]++) << head;
    const std::size_t length = line % 2 == 0 ? 100'000 : 10;
    ASSERT_EQ(body.size(), length) << head;
    ASSERT_EQ(body.find_first_not_of(body[0]), std::string::npos) << head;
  }
  ASSERT_EQ(next.size(), static_cast<std::size_t>(writers));
  for (const auto& [writer, count] : next) EXPECT_EQ(count, lines_each) << writer;
}

INSTANTIATE_TEST_SUITE_P(Methods, LogMethodsTest,
                         ::testing::Values(StartMethod::fork, StartMethod::spawn, StartMethod::forkserver),
                         [](const auto& each) { return std::string(to_string(each.param)); });

}  // namespace
}  // namespace runrig
