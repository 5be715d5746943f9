#include "runrig/engine/log.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "pool_test_support.hpp"
#include "process/whole_write.hpp"
#include "processes.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig {
namespace {

// Standard error is the writing end of a pipe or socket for the time of a scope.
class StandardErrorInto {
 public:
  explicit StandardErrorInto(int fd) : former_(::dup(STDERR_FILENO)) { ::dup2(fd, STDERR_FILENO); }
  StandardErrorInto(const StandardErrorInto&) = delete;
  StandardErrorInto& operator=(const StandardErrorInto&) = delete;
  ~StandardErrorInto() { ::dup2(former_.get(), STDERR_FILENO); }

 private:
  UniqueFd former_;
};

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, 1 << 16> buffer{};
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

// What `body` writes to standard error, at most some 60 KiB.
std::string written_by(const std::function<void()>& body) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  {
    UniqueFd writing(ends[1]);
    const StandardErrorInto redirected(writing.get());
    writing.reset();
    body();
  }
  return read_to_end(reading.get());
}

class LogTest : public ::testing::Test {
 protected:
  LogTest() { detail::apply({}); }
  ~LogTest() override { detail::apply({}); }
};

TEST_F(LogTest, GetLogger_HasNoLevelAndNoHandlerAtFirst) {
  EXPECT_EQ(&get_logger(), &get_logger());
  EXPECT_EQ(get_logger().level(), LogLevel::notset);
  EXPECT_EQ(get_logger().effective_level(), LogLevel::warning);
  EXPECT_EQ(detail::log_settings(), detail::LogSettings());
}

TEST_F(LogTest, GetLogger_WithoutHandlerWritesBareWarnings) {
  EXPECT_EQ(written_by([] {
              get_logger().set_level(LogLevel::debug);
              get_logger().info("not shown");
              get_logger().warning("shown");
            }),
            "shown\n");
}

TEST_F(LogTest, LogToStderr_WritesLevelAndProcessName) {
  EXPECT_EQ(written_by([] {
              log_to_stderr(LogLevel::info);
              get_logger().warning("doomed");
              get_logger().info("and so on");
              get_logger().debug("not shown");
              get_logger().error("an error");
              get_logger().critical("the end");
            }),
            "[WARNING/MainProcess] doomed\n[INFO/MainProcess] and so on\n[ERROR/MainProcess] an error\n"
            "[CRITICAL/MainProcess] the end\n");
}

TEST_F(LogTest, LogToStderr_WithoutLevelLeavesItAsItWas) {
  EXPECT_EQ(written_by([] {
              log_to_stderr().info("not shown: the level is not set, so it is warning");
              get_logger().set_level(LogLevel::subdebug);
              log_to_stderr().subdebug("shown once");
              get_logger().subwarning("between");
            }),
            "[SUBDEBUG/MainProcess] shown once\n[SUBWARNING/MainProcess] between\n");
}

TEST_F(LogTest, AgreesWithPython) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing");
  const auto theirs = test::run_python(python,
                                       "import multiprocessing, logging, atexit\n"
                                       "logger = multiprocessing.get_logger()\n"
                                       "logger.info('no'); logger.warning('bare')\n"
                                       "logger = multiprocessing.log_to_stderr()\n"
                                       "logger.info('no'); logger.warning('default level')\n"
                                       "logger.setLevel(logging.DEBUG)\n"
                                       "logger.debug('two\\nlines'); logger.error('')\n"
                                       "logger.setLevel(logging.CRITICAL)\n"
                                       "logger.error('no'); logger.critical('yes')\n");
  EXPECT_EQ(written_by([] {
              Logger& logger = get_logger();
              logger.info("no");
              logger.warning("bare");
              log_to_stderr();
              logger.info("no");
              logger.warning("default level");
              logger.set_level(LogLevel::debug);
              logger.debug("two\nlines");
              logger.error("");
              logger.set_level(LogLevel::critical);
              logger.error("no");
              logger.critical("yes");
            }),
            theirs.err);
}

TEST_F(LogTest, SettingsAreCarriedAsAValue) {
  log_to_stderr(LogLevel::error);
  const auto settings = detail::log_settings();
  detail::apply({});
  EXPECT_EQ(get_logger().level(), LogLevel::notset);
  detail::apply(settings);
  EXPECT_EQ(get_logger().level(), LogLevel::error);
  EXPECT_EQ(written_by([] { get_logger().error("there"); }), "[ERROR/MainProcess] there\n");
}

// Lines of each writer, of all lengths, are whole and in order.
void expect_whole_lines(const std::string& text, int writers, int lines_each) {
  std::map<std::string, int> next;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string head;
    std::string writer;
    int number = 0;
    std::size_t length = 0;
    std::string body;
    fields >> head >> writer >> number >> length >> body;
    ASSERT_EQ(head, "[INFO/MainProcess]") << line.substr(0, 200);
    ASSERT_EQ(body, std::string(length, writer[0])) << "torn";
    ASSERT_EQ(number, next[writer]++) << writer;
  }
  ASSERT_EQ(next.size(), static_cast<std::size_t>(writers));
  for (const auto& [writer, count] : next) EXPECT_EQ(count, lines_each) << writer;
}

void write_lines(char writer, int lines) {
  for (int i = 0; i < lines; ++i) {
    const std::size_t length = i % 3 == 0 ? 200'000 : i % 3 == 1 ? 1 : 5'000;
    get_logger().info(std::string(1, writer) + " " + std::to_string(i) + " " + std::to_string(length) + " " +
                      std::string(length, writer));
  }
}

enum class Stream { pipe, socket, file };
class WholeLinesTest : public ::testing::TestWithParam<Stream> {
 protected:
  WholeLinesTest() {
    log_to_stderr(LogLevel::info);
    std::array<int, 2> ends{};
    switch (GetParam()) {
      case Stream::pipe:
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        break;
      case Stream::socket:
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        break;
      case Stream::file:
        ends[1] = ::open((directory_ / "log").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        ends[0] = ::open((directory_ / "log").c_str(), O_RDONLY | O_CLOEXEC);
        break;
    }
    reading_.reset(ends[0]);
    writing_.reset(ends[1]);
  }
  ~WholeLinesTest() override { detail::apply({}); }

  // Reads beside the writers, or they would wait for room in the pipe.
  std::string collect(const std::function<void()>& write) {
    std::string text;
    if (GetParam() == Stream::file) {
      write();
      return read_to_end(reading_.get());
    }
    std::thread reader([&] { text = read_to_end(reading_.get()); });
    write();
    writing_.reset();
    reader.join();
    return text;
  }

  const test::TemporaryDirectory directory_;
  UniqueFd reading_;
  UniqueFd writing_;
};

TEST_P(WholeLinesTest, LinesOfProcessesNeverInterleave) {
  RUNRIG_NEED_FORKS();
  constexpr int writers = 4;
  std::vector<std::unique_ptr<test::Child>> children;
  for (int i = 0; i < writers; ++i) {  // before there is a reading thread
    children.push_back(std::make_unique<test::Child>([&, i] {
      reading_.reset();
      const StandardErrorInto redirected(writing_.get());
      write_lines(static_cast<char>('a' + i), 30);
    }));
  }
  const std::string text = collect([&] {
    writing_.reset(GetParam() == Stream::file ? ::dup(writing_.get()) : -1);
    for (auto& child : children) EXPECT_EQ(child->join(), 0);
  });
  expect_whole_lines(text, writers, 30);
}

TEST_P(WholeLinesTest, LinesOfThreadsNeverInterleave) {
  constexpr int writers = 4;
  const std::string text = collect([&] {
    const StandardErrorInto redirected(writing_.get());
    std::vector<std::thread> threads;
    for (int i = 0; i < writers; ++i) {
      threads.emplace_back([i] { write_lines(static_cast<char>('a' + i), 30); });
    }
    for (auto& thread : threads) thread.join();
  });
  expect_whole_lines(text, writers, 30);
}

INSTANTIATE_TEST_SUITE_P(
    Streams, WholeLinesTest, ::testing::Values(Stream::pipe, Stream::socket, Stream::file), [](const auto& each) {
      return std::string(each.param == Stream::pipe ? "pipe" : each.param == Stream::socket ? "socket" : "file");
    });

TEST_F(LogTest, AWriterThatIsKilledInTheMiddleOfALineStopsNobody) {
  RUNRIG_NEED_FORKS();
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  log_to_stderr(LogLevel::info);
  const std::string text = written_by([] {
    EXPECT_EQ(test::run_in_child([] {
                killpoint::arm("log.write.begun");
                get_logger().info("the last words of the dead");
              }),
              -SIGKILL);
    EXPECT_EQ(test::run_in_child([] { get_logger().info("the living go on"); }), 0);
  });
  EXPECT_NE(text.find("[INFO/MainProcess] the living go on\n"), std::string::npos) << text;
}

TEST_F(LogTest, AStoppedWriterIsWaitedForOneSecondOnly) {
  RUNRIG_NEED_FORKS();
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  // Its line is longer than the pipe, so it stops while it holds the lock.
  const test::Child writer([&] { detail::write_whole(writing.get(), std::string(1 << 20, 'x')); });
  ASSERT_TRUE(test::eventually([&] {
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    return ::fcntl(writing.get(), F_GETLK, &range) == 0 && range.l_type != F_UNLCK;
  }));
  writer.signal(SIGSTOP);
  ASSERT_TRUE(test::eventually([&] { return test::process_state(writer.pid()).state == 'T'; }));
  std::string buffer(1 << 17, 0);
  ASSERT_GT(::read(reading.get(), buffer.data(), buffer.size()), 0) << "room for our line";
  detail::write_whole(writing.get(), "after all\n");
  EXPECT_NE(buffer.substr(0, static_cast<std::size_t>(::read(reading.get(), buffer.data(), buffer.size())))
                .find("after all\n"),
            std::string::npos);
}

TEST_F(LogTest, ABrokenStreamCostsMessagesAndNothingElse) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  UniqueFd(ends[0]).reset();
  const UniqueFd writing(ends[1]);
  errno = 77;
  detail::write_whole(writing.get(), "nobody reads this");  // SIGPIPE would end the test
  EXPECT_EQ(errno, 77);
  detail::write_whole(-1, "no stream at all");
}

TEST_F(LogTest, AFullNonBlockingStreamDropsTheRestAfterASecond) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  detail::write_whole(writing.get(), std::string(1 << 20, 'x'));
  std::string buffer(1 << 20, 0);
  EXPECT_GT(::read(reading.get(), buffer.data(), buffer.size()), 0);
}

}  // namespace
}  // namespace runrig
