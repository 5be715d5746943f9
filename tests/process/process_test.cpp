#include "runrig/engine/process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "process_support.hpp"

namespace runrig {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using namespace std::chrono_literals;

class ProcessTest : public test::EachStartMethod {
 protected:
  static void TearDownTestSuite() { EXPECT_THAT(active_children(), IsEmpty()); }
};

void double_place(std::string board, int place) {
  const test::Board there(board);
  auto& number = there[static_cast<std::size_t>(place)];
  number = number * 2;
}

TEST_P(ProcessTest, Process_CallsAFunctionWithItsArguments) {
  test::Board board;
  board[3] = 21;
  EXPECT_EQ(run(double_place, board.name(), 3), 0);
  EXPECT_EQ(board[3], 42);
}

TEST_P(ProcessTest, Process_CallsALambdaWithItsCaptures) {
  const int a = 40;
  const double b = 2;
  EXPECT_EQ(run([a, b] { std::exit(a + static_cast<int>(b)); }), 42);
}

TEST_P(ProcessTest, Process_ArgumentsOfManyTypes) {
  const auto check = [](std::vector<std::string> words, std::map<std::string, int> counts,
                        std::tuple<bool, double> pair, std::optional<int> none) {
    const bool right = words == std::vector<std::string>{"a", std::string(3, '\0'), "c"} && counts.at("x") == -7 &&
                       pair == std::tuple(true, 0.1) && !none;
    std::exit(right ? 11 : 12);
  };
  EXPECT_EQ(run(check, std::vector<std::string>{"a", std::string(3, '\0'), "c"}, std::map<std::string, int>{{"x", -7}},
                std::tuple(true, 0.1), std::optional<int>()),
            11);
}

TEST_P(ProcessTest, Process_ArgumentsMayBeLarge) {
  const auto check = [](std::vector<double> numbers) {
    std::exit(numbers.size() == 1'000'000 && numbers.back() == 999'999 ? 11 : 12);
  };
  std::vector<double> numbers(1'000'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(i);
  EXPECT_EQ(run(check, numbers), 11);
}

TEST_P(ProcessTest, Process_WithoutFunctionDoesNothing) {
  Process process(options());
  process.start();
  ASSERT_TRUE(process.join(30s));
  EXPECT_EQ(process.exit_code(), 0);
}

TEST_P(ProcessTest, Run_CallsTheFunctionInThisProcess) {
  test::Board board;
  board[0] = 4;
  Process process = make(double_place, board.name(), 0);
  process.run();
  EXPECT_EQ(board[0], 8);
  EXPECT_EQ(process.pid(), std::nullopt);
}

TEST_P(ProcessTest, Start_RunsInAChildOfThisProcess) {
  test::Board board;
  const auto body = [](std::string name) {
    const test::Board there(name);
    there[0] = ::getpid();
    there[1] = ::getppid();
  };
  Process process = make(body, board.name());
  process.start();
  ASSERT_TRUE(process.join(30s));
  EXPECT_EQ(process.pid(), board[0]);
  EXPECT_NE(board[0], ::getpid());
  EXPECT_EQ(board[1], ::getpid());
}

TEST_P(ProcessTest, Start_MayBeCalledOnce) {
  Process process = make([] {});
  process.start();
  EXPECT_THAT(test::thrown_text([&] { process.start(); }), HasSubstr("started already"));
  ASSERT_TRUE(process.join(30s));
  EXPECT_THROW(process.start(), std::logic_error);
  EXPECT_EQ(process.exit_code(), 0);
}

TEST_P(ProcessTest, Join_WaitsAndMayBeRepeated) {
  test::Board board;
  Process process = make([](std::string name) { test::Board{name}[0] = 1; }, board.name());
  process.start();
  EXPECT_TRUE(process.join());
  EXPECT_EQ(board[0], 1);
  EXPECT_TRUE(process.join());
  EXPECT_TRUE(process.join(0s));
}

TEST_P(ProcessTest, Join_TimesOutAndTheProcessGoesOn) {
  Process process = make(test::sleep_long);
  process.start();
  EXPECT_FALSE(process.join(20ms));
  EXPECT_FALSE(process.join(0s));
  EXPECT_FALSE(process.join(-1s));
  EXPECT_TRUE(process.is_alive());
  EXPECT_EQ(process.exit_code(), std::nullopt);
  process.kill();
  EXPECT_TRUE(process.join(30s));
}

TEST_P(ProcessTest, Join_BeforeStartIsAnError) {
  Process process = make([] {});
  EXPECT_THAT(test::thrown_text([&] { process.join(); }), HasSubstr("has not been started"));
}

TEST_P(ProcessTest, Join_OfItselfIsAnError) {
  const auto body = [] {
    try {
      current_process().join();
    } catch (const std::logic_error& error) {
      std::exit(std::string(error.what()).find("this process itself") != std::string::npos ? 3 : 4);
    }
  };
  EXPECT_EQ(run(body), 3);
  EXPECT_THROW(current_process().join(), std::logic_error);
}

TEST_P(ProcessTest, IsAlive_FromStartToEnd) {
  Process process = make(test::sleep_long);
  EXPECT_FALSE(process.is_alive());
  process.start();
  EXPECT_TRUE(process.is_alive());
  process.terminate();
  EXPECT_TRUE(test::eventually([&] { return !process.is_alive(); }));
  EXPECT_EQ(process.exit_code(), -SIGTERM) << "is_alive() joins a process that has ended";
}

TEST_P(ProcessTest, Pid_IsNoneBeforeStart) {
  Process process = make([] {});
  EXPECT_EQ(process.pid(), std::nullopt);
  process.start();
  const auto pid = process.pid();
  EXPECT_GT(pid, 0);
  process.join();
  EXPECT_EQ(process.pid(), pid);
}

TEST_P(ProcessTest, ExitCode_IsNoneWhileItRuns) {
  Process process = make(test::sleep_long);
  EXPECT_EQ(process.exit_code(), std::nullopt);
  process.start();
  EXPECT_EQ(process.exit_code(), std::nullopt);
  process.kill();
  process.join();
  EXPECT_EQ(process.exit_code(), -SIGKILL);
}

TEST_P(ProcessTest, ExitCode_Is0AfterAReturn) {
  EXPECT_EQ(run([] {}), 0);
}

TEST_P(ProcessTest, ExitCode_IsWhatExitWasGiven) {
  for (const int code : {0, 1, 7, 255}) EXPECT_EQ(run([](int given) { std::exit(given); }, code), code);
  EXPECT_EQ(run([] { ::_exit(9); }), 9);
  EXPECT_EQ(run([] { std::quick_exit(10); }), 10);
}

TEST_P(ProcessTest, ExitCode_IsMinusTheSignal) {
  std::vector<int> signals{SIGKILL, SIGTERM, SIGINT, SIGUSR1};
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which turn it into a report and an exit
  signals.push_back(SIGSEGV);
#endif
  for (const int signal : signals) {
    EXPECT_EQ(run(
                  [](int given) {
                    ::raise(given);
                    test::sleep_long();
                  },
                  signal),
              -signal);
  }
  EXPECT_EQ(run([] { std::abort(); }), -SIGABRT);
}

TEST_P(ProcessTest, ExitCode_Is1AfterAnExceptionWhoseTextIsOnStderrWithTheName) {
  testing::internal::CaptureStderr();
  Process process(
      options({.name = "reader of files"}), [](std::string file) { throw std::runtime_error("cannot read " + file); },
      std::string("a.txt"));
  process.start();
  const bool ended = process.join(30s);
  const std::string text = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(ended);
  EXPECT_EQ(process.exit_code(), 1);
  EXPECT_EQ(text, "Process reader of files: std::runtime_error: cannot read a.txt\n");
}

TEST_P(ProcessTest, ExitCode_Is1AfterAnythingElseThatIsThrown) {
  testing::internal::CaptureStderr();
  const int code = run([] { throw 42; });  // NOLINT(hicpp-exception-baseclass)
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(": int: 42\n"));
  EXPECT_EQ(code, 1);
}

TEST_P(ProcessTest, Name_IsOfTheFormProcessN) {
  Process first = make([] {});
  Process second = make([] {});
  const auto number = [](const Process& process) {
    EXPECT_THAT(process.name(), testing::StartsWith("Process-"));
    return std::stoi(process.name().substr(8));
  };
  EXPECT_EQ(number(second), number(first) + 1);
}

TEST_P(ProcessTest, Name_OfChildrenOfChildrenCountsOn) {
  const auto body = [](StartMethod method) {
    const std::string own = current_process().name();
    const auto check = [](std::string expected) { std::exit(current_process().name() == expected ? 5 : 6); };
    Process child(test::with_method(method), check, own + ":1");
    if (child.name() != own + ":1") std::exit(7);
    child.start();
    child.join();
    Process second(test::with_method(method), check, own + ":2");
    if (second.name() != own + ":2") std::exit(8);
    std::exit(child.exit_code().value_or(9));
  };
  EXPECT_EQ(run(body, GetParam()), 5);
}

TEST_P(ProcessTest, Name_CanBeChosenAndNeedNotBeUnique) {
  const auto check = [](std::string expected) { std::exit(current_process().name() == expected ? 5 : 6); };
  Process first(options({.name = "twin"}), check, std::string("twin"));
  Process second(options({.name = "twin"}), check, std::string("other"));
  second.set_name("other");
  EXPECT_EQ(first.name(), "twin");
  for (Process* each : {&first, &second}) {
    each->start();
    each->join();
    EXPECT_EQ(each->exit_code(), 5);
  }
}

TEST_P(ProcessTest, Daemon_IsInheritedUnlessSaidOtherwise) {
  EXPECT_FALSE(current_process().daemon());
  EXPECT_FALSE(make([] {}).daemon());
  EXPECT_TRUE(Process(options({.daemon = true}), [] {}).daemon());
  const auto check = [](bool expected) { std::exit(current_process().daemon() == expected ? 5 : 6); };
  for (const bool daemon : {false, true}) {
    Process process(options({.daemon = daemon}), check, daemon);
    process.start();
    process.join();
    EXPECT_EQ(process.exit_code(), 5);
  }
}

TEST_P(ProcessTest, Daemon_IsSetBeforeStart) {
  Process process = make([] {});
  process.set_daemon(true);
  EXPECT_TRUE(process.daemon());
  process.start();
  EXPECT_THAT(test::thrown_text([&] { process.set_daemon(false); }), HasSubstr("has been started"));
  process.join();
}

TEST_P(ProcessTest, Daemon_MayNotHaveChildren) {
  const auto body = [](StartMethod method) {
    Process child(test::with_method(method), [] {});
    if (!child.daemon()) std::exit(7);  // inherited
    try {
      child.start();
    } catch (const std::logic_error& error) {
      std::exit(std::string(error.what()).find("daemons may not have children") != std::string::npos ? 5 : 6);
    }
  };
  Process process(options({.daemon = true}), body, GetParam());
  process.start();
  process.join();
  EXPECT_EQ(process.exit_code(), 5);
}

TEST_P(ProcessTest, Authkey_IsRandomAndInherited) {
  const auto key = current_process().authkey();
  EXPECT_EQ(key.size(), 32U);
  EXPECT_THAT(key, Not(testing::Each(key.front())));
  EXPECT_EQ(make([] {}).authkey(), key);
  const auto check = [](std::vector<std::uint8_t> expected) {
    const auto found = current_process().authkey();
    const bool same = std::equal(found.begin(), found.end(), expected.begin(), expected.end(),
                                 [](std::byte a, std::uint8_t b) { return a == std::byte{b}; });
    std::exit(same ? 5 : 6);
  };
  std::vector<std::uint8_t> expected;
  for (const std::byte each : key) expected.push_back(static_cast<std::uint8_t>(each));
  EXPECT_EQ(run(check, expected), 5);
  Process other = make(check, std::vector<std::uint8_t>{'k', 'e', 'y'});
  other.set_authkey(std::as_bytes(std::span("key", 3)));
  other.start();
  other.join();
  EXPECT_EQ(other.exit_code(), 5);
  EXPECT_EQ(current_process().authkey(), key);
}

TEST_P(ProcessTest, Sentinel_IsReadyWhenTheProcessEnds) {
  Process process = make(test::sleep_long);
  EXPECT_THROW((void)process.sentinel(), std::logic_error);
  process.start();
  pollfd entry{process.sentinel(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
  EXPECT_THAT(wait({process.sentinel()}, 10ms), IsEmpty());
  process.kill();
  EXPECT_THAT(wait({process.sentinel()}, 30s), ElementsAre(process.sentinel()));
  process.join();
  EXPECT_THAT(wait({process.sentinel()}, 0s), ElementsAre(process.sentinel())) << "it stays ready";
}

TEST_P(ProcessTest, Wait_ReturnsThoseThatAreReadyInTheirOrder) {
  std::vector<Process> processes;
  std::vector<int> sentinels;
  for (int i = 0; i < 4; ++i) {
    processes.push_back(make(test::sleep_long));
    processes.back().start();
    sentinels.push_back(processes.back().sentinel());
  }
  EXPECT_THAT(wait(sentinels, 0s), IsEmpty());
  processes[3].kill();
  processes[1].kill();
  processes[1].join();
  processes[3].join();
  EXPECT_THAT(wait(sentinels), ElementsAre(sentinels[1], sentinels[3]));
  for (Process& each : processes) each.kill();
  for (Process& each : processes) each.join();
  EXPECT_EQ(wait(sentinels), sentinels);
  processes.clear();
  EXPECT_EQ(test::thrown_code([] { (void)wait({1'000'000}); }), std::errc::bad_file_descriptor);
  EXPECT_THAT(wait(std::span<const int>(), 1ms), IsEmpty());
}

TEST_P(ProcessTest, Terminate_IsSigterm_Kill_IsSigkill) {
  for (const bool kill : {false, true}) {
    Process process = make(test::sleep_long);
    EXPECT_THROW(kill ? process.kill() : process.terminate(), std::logic_error) << "not started";
    process.start();
    kill ? process.kill() : process.terminate();
    ASSERT_TRUE(process.join(30s));
    EXPECT_EQ(process.exit_code(), kill ? -SIGKILL : -SIGTERM);
    kill ? process.kill() : process.terminate();  // nothing to do any more
  }
}

TEST_P(ProcessTest, Close_IsRefusedWhileItRunsAndEndsTheUseOfTheObject) {
  Process process(options({.name = "closing"}), test::sleep_long);
  process.start();
  EXPECT_THAT(test::thrown_text([&] { process.close(); }), HasSubstr("still runs"));
  process.kill();
  process.join();
  process.close();
  process.close();
  EXPECT_EQ(process.name(), "closing");
  const auto is_closed = HasSubstr("is closed");
  EXPECT_THAT(test::thrown_text([&] { process.join(); }), is_closed);
  EXPECT_THAT(test::thrown_text([&] { process.start(); }), is_closed);
  EXPECT_THAT(test::thrown_text([&] { (void)process.is_alive(); }), is_closed);
  EXPECT_THAT(test::thrown_text([&] { (void)process.exit_code(); }), is_closed);
  EXPECT_THAT(test::thrown_text([&] { (void)process.pid(); }), is_closed);
  EXPECT_THAT(test::thrown_text([&] { (void)process.sentinel(); }), is_closed);
  EXPECT_THAT(test::thrown_text([&] { process.terminate(); }), is_closed);
}

TEST_P(ProcessTest, Close_OfOneThatWasNeverStarted) {
  Process process = make([] {});
  process.close();
  EXPECT_THROW(process.start(), std::logic_error);
}

TEST_P(ProcessTest, ActiveChildren_AreThoseThatRunAndJoinsTheOthers) {
  EXPECT_THAT(active_children(), IsEmpty());
  Process runs = make(test::sleep_long);
  Process ends = make([] {});
  runs.start();
  ends.start();
  (void)wait({ends.sentinel()}, 30s);
  const auto children = active_children();
  ASSERT_EQ(children.size(), 1U);
  EXPECT_EQ(children[0].pid(), runs.pid());
  EXPECT_EQ(children[0].name(), runs.name());
  EXPECT_THAT(test::own_children(), Not(testing::Contains(*ends.pid()))) << "it was not joined";
  runs.kill();
  runs.join();
  EXPECT_THAT(active_children(), IsEmpty());
}

TEST_P(ProcessTest, ActiveChildren_AreThereWithoutTheirObject) {
  pid_t pid = 0;
  {
    Process process(options({.name = "forgotten"}), test::sleep_long);
    process.start();
    pid = *process.pid();
  }
  EXPECT_TRUE(test::process_lives(pid)) << "destroying the object must not end the process";
  auto children = active_children();
  ASSERT_EQ(children.size(), 1U);
  EXPECT_EQ(children[0].name(), "forgotten");
  children[0].kill();
  EXPECT_TRUE(children[0].join(30s));
  EXPECT_EQ(children[0].exit_code(), -SIGKILL);
}

TEST_P(ProcessTest, CurrentProcess_IsTheMainProcessOrTheChild) {
  EXPECT_EQ(current_process().name(), "MainProcess");
  EXPECT_EQ(current_process().pid(), ::getpid());
  EXPECT_TRUE(current_process().is_alive());
  EXPECT_EQ(current_process().exit_code(), std::nullopt);
  const auto body = [] {
    const bool right = current_process().pid() == ::getpid() && current_process().name() == "the child" &&
                       current_process().is_alive() && !current_process().exit_code();
    std::exit(right ? 5 : 6);
  };
  Process process(options({.name = "the child"}), body);
  process.start();
  process.join();
  EXPECT_EQ(process.exit_code(), 5);
  EXPECT_THAT(test::thrown_text([] { current_process().terminate(); }), HasSubstr("this process itself"));
  EXPECT_THROW(current_process().start(), std::logic_error);
  EXPECT_THROW(current_process().close(), std::logic_error);
}

TEST_P(ProcessTest, ParentProcess_OfTheMainProcessIsNone_OfAChildIsItsParent) {
  EXPECT_FALSE(parent_process().has_value());
  const auto body = [](int expected) {
    auto parent = parent_process();
    if (!parent) std::exit(1);
    if (parent->name() != "MainProcess" || parent->pid() != expected) std::exit(2);
    if (!parent->is_alive() || parent->join(0s) || parent->exit_code()) std::exit(3);
    if (!wait({parent->sentinel()}, 0s).empty()) std::exit(4);
    try {
      parent->terminate();
    } catch (const std::logic_error&) {
      std::exit(5);
    }
  };
  EXPECT_EQ(run(body, static_cast<int>(::getpid())), 5);
}

TEST_P(ProcessTest, ParentProcess_DiesAndIsSeenToHaveDone) {
  test::Board board;
  const auto parent = [](std::string name, StartMethod method) {
    const auto child = [](std::string there) {
      auto above = parent_process();
      test::Board{there}[0] = 1;
      test::Board{there}[1] = above->join(30s) && !above->is_alive() ? 2 : 3;
    };
    Process(test::with_method(method), child, name).start();
    test::sleep_long();
  };
  Process process = make(parent, board.name(), GetParam());
  process.start();
  EXPECT_TRUE(test::eventually([&] { return board[0] == 1; }, 30s));
  process.kill();
  process.join();
  EXPECT_TRUE(test::eventually([&] { return board[1] == 2; }, 30s));
}

TEST_P(ProcessTest, OnlyItsParentMayUseAProcess) {
  Process other = make(test::sleep_long);
  Process unstarted = make([] {});
  other.start();
  EXPECT_EQ(test::run_in_child([&] {
              const auto is_foreign = HasSubstr("only the process that made the object");
              EXPECT_THAT(test::thrown_text([&] { other.join(); }), is_foreign);
              EXPECT_THAT(test::thrown_text([&] { (void)other.is_alive(); }), is_foreign);
              EXPECT_THAT(test::thrown_text([&] { (void)other.exit_code(); }), is_foreign);
              EXPECT_THAT(test::thrown_text([&] { other.terminate(); }), is_foreign);
              EXPECT_THAT(test::thrown_text([&] { (void)other.sentinel(); }), is_foreign);
              EXPECT_THAT(test::thrown_text([&] { other.close(); }), is_foreign);
              EXPECT_THAT(test::thrown_text([&] { unstarted.start(); }), is_foreign);
              EXPECT_THAT(active_children(), IsEmpty());
              EXPECT_EQ(to_string(other).substr(0, 9), "Process '");
            }),
            0);
  EXPECT_TRUE(other.is_alive());
  other.kill();
  other.join();
  EXPECT_EQ(other.exit_code(), -SIGKILL);
}

TEST_P(ProcessTest, ToString_TellsTheState) {
  Process process(options({.name = "p"}), test::sleep_long);
  EXPECT_EQ(to_string(process), "Process 'p' (initial)");
  process.start();
  EXPECT_EQ(to_string(process), "Process 'p' (started, pid " + std::to_string(*process.pid()) + ")");
  process.terminate();
  process.join();
  EXPECT_EQ(to_string(process), "Process 'p' (stopped, exit code -15)");
  process.close();
  EXPECT_EQ(to_string(process), "Process 'p' (closed)");
}

TEST_P(ProcessTest, MovedFromObjectsAreRefusedInWords) {
  Process process = make([] {});
  Process moved = std::move(process);
  EXPECT_THAT(test::thrown_text([&] { process.start(); }), HasSubstr("moved from"));  // NOLINT(bugprone-use-after-move)
  moved.start();
  moved.join();
  EXPECT_EQ(moved.exit_code(), 0);
}

TEST_P(ProcessTest, CpuCount_IsThatOfTheMachine) {
  EXPECT_GE(cpu_count(), 1);
  EXPECT_GE(cpu_count(), usable_cpu_count());
}

// A type with a run() of its own, for all start methods.
class Adder : public Subprocess<Adder> {
 public:
  Adder(std::string board, int amount, ProcessOptions options = {})
      : Subprocess(std::move(options)), board_(std::move(board)), amount_(amount) {}
  void run() override {
    const test::Board board(board_);
    board[0] += amount_;
    board[1] = name() == current_process().name() && pid() == ::getpid() ? 1 : 2;
    board[2] = Process([] {}).name().ends_with(":1") ? 1 : 2;
  }
  [[nodiscard]] auto transfer() const { return std::tuple(board_, amount_); }

 private:
  std::string board_;
  int amount_;
};

TEST_P(ProcessTest, Run_OfADerivedTypeIsWhatTheChildDoes) {
  test::Board board;
  Adder adder(board.name(), 5, options({.name = "adder"}));
  adder.start();
  ASSERT_TRUE(adder.join(30s));
  EXPECT_EQ(adder.exit_code(), 0);
  EXPECT_EQ(board[0], 5);
  EXPECT_EQ(board[1], 1) << "in the child, the object must stand for the running process";
  EXPECT_EQ(board[2], 1) << "the object must not count as a child of the child";
}

// One that only a copy can run.
class Plain : public Process {
 public:
  explicit Plain(ProcessOptions options, std::string* text) : Process(std::move(options)), text_(text) {}
  void run() override { std::exit(*text_ == "as it was" ? 5 : 6); }

 private:
  std::string* text_;
};

TEST_P(ProcessTest, Run_OfAPlainDerivedTypeWorksByForkAndIsRefusedInWordsOtherwise) {
  std::string text = "as it was";
  Plain plain(options(), &text);
  if (GetParam() == StartMethod::fork) {
    plain.start();
    plain.join();
    EXPECT_EQ(plain.exit_code(), 5);
    return;
  }
  EXPECT_THAT(test::thrown_text([&] { plain.start(); }), HasSubstr("derive it from Subprocess"));
  EXPECT_EQ(plain.pid(), std::nullopt);
}

TEST_P(ProcessTest, ForkOnly_TakesAnyCallableByForkAndIsRefusedInWordsOtherwise) {
  const std::string text = "captured by reference";
  Process process(options(), fork_only([&text] { std::exit(text == "captured by reference" ? 5 : 6); }));
  if (GetParam() == StartMethod::fork) {
    process.start();
    process.join();
    EXPECT_EQ(process.exit_code(), 5);
    return;
  }
  EXPECT_THAT(test::thrown_text([&] { process.start(); }), HasSubstr("fork"));
  EXPECT_EQ(process.pid(), std::nullopt);
}

TEST_P(ProcessTest, CapturesThatPointIntoPrivateMemoryAreRefusedInWords) {
  const std::vector<int> numbers(1000, 7);
  const int* pointer = numbers.data();
  Process process = make([pointer] { std::exit(*pointer); });
  if (GetParam() == StartMethod::fork) return;  // the child has a copy
  EXPECT_THAT(test::thrown_text([&] { process.start(); }), HasSubstr("a pointer or reference into"));
}

RUNRIG_FOR_EACH_START_METHOD(ProcessTest);

}  // namespace
}  // namespace runrig
