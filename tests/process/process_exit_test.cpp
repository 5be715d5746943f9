// What happens to children at the end of their parent, and to a child's own end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "process_support.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/sync/killpoint.hpp"
#include "scenes.hpp"

namespace runrig {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

class ProcessExitTest : public test::EachStartMethod {
 protected:
  // Runs a scene whose first argument is the method.
  static test::CommandResult play(const std::string& scene, std::vector<std::string> arguments = {},
                                  std::chrono::milliseconds limit = 60s) {
    arguments.insert(arguments.begin(), std::string(to_string(GetParam())));
    return test::run_command(test::scene_command(scene, arguments), {}, limit);
  }
};

ProcessOptions scene_options(const std::vector<std::string>& arguments, ProcessOptions options = {}) {
  return test::with_method(start_method_from(arguments.at(0)), std::move(options));
}

void note_pid_and_sleep(std::string board, int place) {
  test::Board{board}[static_cast<std::size_t>(place)] = ::getpid();
  test::sleep_long();
}

bool all_gone(const test::Board& board, std::size_t first, std::size_t count) {
  for (std::size_t i = first; i < first + count; ++i) {
    if (test::process_lives(board[i])) return false;
  }
  return true;
}

bool all_noted(const test::Board& board, std::size_t first, std::size_t count) {
  for (std::size_t i = first; i < first + count; ++i) {
    if (board[i] == 0) return false;
  }
  return true;
}

RUNRIG_SCENE(leaves_a_child_behind) {
  Process process(scene_options(arguments), [] {
    std::this_thread::sleep_for(300ms);
    std::printf("the child is done\n");
  });
  process.start();
  std::printf("the parent is done\n");
  std::fflush(stdout);
  return 4;
}

TEST_P(ProcessExitTest, Exit_WaitsForChildrenThatAreNoDaemons) {
  const auto result = play("leaves_a_child_behind");
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_EQ(result.out, "the parent is done\nthe child is done\n");
}

RUNRIG_SCENE(leaves_daemons_behind) {
  const std::string board = arguments.at(1);
  for (int i = 0; i < 3; ++i) {
    Process process(scene_options(arguments, {.daemon = true}), note_pid_and_sleep, board, i);
    process.start();
  }
  return test::eventually([&] { return all_noted(test::Board(board), 0, 3); }) ? 4 : 5;
}

TEST_P(ProcessExitTest, Daemon_IsTerminatedAtTheExitOfItsParent) {
  test::Board board;
  const auto result = play("leaves_daemons_behind", {board.name()});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  ASSERT_TRUE(all_noted(board, 0, 3));
  EXPECT_TRUE(all_gone(board, 0, 3)) << "exit has to wait until they are gone";
}

RUNRIG_SCENE(leaves_a_deaf_daemon_behind) {
  const std::string board = arguments.at(1);
  const auto body = [](std::string name) {
    ::signal(SIGTERM, SIG_IGN);
    note_pid_and_sleep(name, 0);
  };
  Process(scene_options(arguments, {.daemon = true}), body, board).start();
  return test::eventually([&] { return all_noted(test::Board(board), 0, 1); }) ? 4 : 5;
}

TEST_P(ProcessExitTest, Daemon_ThatIgnoresSigtermIsKilled) {
  test::Board board;
  const auto result = play("leaves_a_deaf_daemon_behind", {board.name()}, 20s);
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_TRUE(all_gone(board, 0, 1));
}

// O1, O3, O5: daemons started beside each other and beside other children, from a thread that has ended since.
RUNRIG_SCENE(is_killed_with_children) {
  const std::string board = arguments.at(1);
  std::thread starter([&] {
    for (int i = 0; i < 8; ++i) {
      ProcessOptions options = scene_options(arguments, {.daemon = i != 7});
      options.other_threads = OtherThreads::allow;
      Process(options, note_pid_and_sleep, board, i).start();
    }
  });
  starter.join();
  test::Board{board}[10] = ::getpid();
  test::sleep_long();
  return 0;
}

TEST_P(ProcessExitTest, Daemon_EndsWithinASecondOfItsParentsKill) {
  test::Board board;
  std::thread command([&] { EXPECT_EQ(play("is_killed_with_children", {board.name()}).exit_code, -SIGKILL); });
  EXPECT_TRUE(test::eventually([&] { return all_noted(board, 0, 8) && board[10] != 0; }, 30s));
  EXPECT_FALSE(all_gone(board, 0, 7)) << "daemons must outlive the thread that started them";
  for (std::size_t i = 0; i < 8; ++i) EXPECT_TRUE(test::process_lives(board[i])) << i;
  ::kill(static_cast<pid_t>(board[10]), SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return all_gone(board, 0, 7); }, 1s));
  EXPECT_TRUE(test::process_lives(board[7])) << "what is no daemon outlives a parent that is killed, as in Python";
  ::kill(static_cast<pid_t>(board[7]), SIGKILL);
  command.join();
}

// O4: the parent is gone before the child has made its arrangements.
RUNRIG_SCENE(dies_at_once) {
  const std::string board = arguments.at(1);
  const auto body = [](std::string name) { note_pid_and_sleep(name, 0); };
  Process(scene_options(arguments, {.daemon = true}), body, board).start();
  ::raise(SIGKILL);
  return 0;
}

TEST_P(ProcessExitTest, Daemon_EndsAlsoIfItsParentDiedBeforeItHadBegun) {
  for (int i = 0; i < 5; ++i) {
    test::Board board;
    EXPECT_EQ(play("dies_at_once", {board.name()}).exit_code, -SIGKILL);
    // It may have died before it said anything. Whatever it is, it is gone, and leftovers() looks for it as well.
    EXPECT_TRUE(test::eventually([&] { return !test::process_lives(board[0]); }, 5s));
  }
}

RUNRIG_SCENE(starts_a_daemon) {
  Process process(scene_options(arguments, {.daemon = true}), note_pid_and_sleep, arguments.at(1), 0);
  process.start();
  process.join();
  return process.exit_code() == -SIGKILL ? 4 : 5;
}

// O4 again, at the very steps.
TEST_P(ProcessExitTest, Killpoints_OfTheParentLeaveNoDaemon) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const std::string point = GetParam() == StartMethod::fork    ? "process.forked"
                            : GetParam() == StartMethod::spawn ? "process.spawned"
                                                               : "process.server.asked";
  const test::Board board;
  const auto result =
      test::run_command(test::scene_command("starts_a_daemon", {std::string(to_string(GetParam())), board.name()}), {},
                        60s, {"RUNRIG_KILLPOINT=" + point});
  EXPECT_EQ(result.exit_code, -SIGKILL) << "it was not reached";
  EXPECT_TRUE(test::eventually([&] { return !test::process_lives(board[0]); }, 5s));
}

TEST_P(ProcessExitTest, Killpoints_OfTheChildShowAsItsExitCode) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const test::Board board;
  const auto result =
      test::run_command(test::scene_command("starts_a_daemon", {std::string(to_string(GetParam())), board.name()}), {},
                        60s, {"RUNRIG_KILLPOINT=process.child.starting"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_EQ(board[0], 0);
}

// O10
RUNRIG_SCENE(is_stopped) {
  const std::string board = arguments.at(1);
  Process(scene_options(arguments, {.daemon = true}), note_pid_and_sleep, board, 0).start();
  test::Board{board}[10] = ::getpid();
  test::sleep_long();
  return 0;
}

TEST_P(ProcessExitTest, Daemon_OutlivesAStoppedParent) {
  test::Board board;
  std::thread command([&] { EXPECT_EQ(play("is_stopped", {board.name()}).exit_code, -SIGKILL); });
  EXPECT_TRUE(test::eventually([&] { return all_noted(board, 0, 1) && board[10] != 0; }, 30s));
  const auto parent = static_cast<pid_t>(board[10]);
  ::kill(parent, SIGSTOP);
  EXPECT_FALSE(test::eventually([&] { return all_gone(board, 0, 1); }, 1500ms));
  ::kill(parent, SIGCONT);
  EXPECT_TRUE(test::process_lives(board[0]));
  ::kill(parent, SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return all_gone(board, 0, 1); }, 5s));
  command.join();
}

TEST_P(ProcessExitTest, AChildEndsItsOwnChildrenAsTheMainProcessDoes) {
  test::Board board;
  const auto parent = [](std::string name, StartMethod method) {
    Process(test::with_method(method, {.daemon = true}), note_pid_and_sleep, name, 0).start();
    const auto slow = [](std::string there) {
      std::this_thread::sleep_for(200ms);
      test::Board{there}[1] = 1;
    };
    Process(test::with_method(method), slow, name).start();
    test::eventually([&] { return test::Board{name}[0] != 0; });
  };
  EXPECT_EQ(run(parent, board.name(), GetParam()), 0);
  EXPECT_EQ(board[1], 1) << "it must have waited for its child";
  EXPECT_NE(board[0], 0);
  EXPECT_TRUE(all_gone(board, 0, 1)) << "and ended its daemon";
}

TEST_P(ProcessExitTest, DaemonsOfAKilledChildEnd) {
  test::Board board;
  const auto parent = [](std::string name, StartMethod method) {
    Process(test::with_method(method, {.daemon = true}), note_pid_and_sleep, name, 0).start();
    test::sleep_long();
  };
  Process process = make(parent, board.name(), GetParam());
  process.start();
  EXPECT_TRUE(test::eventually([&] { return all_noted(board, 0, 1); }, 30s));
  process.kill();
  process.join();
  EXPECT_TRUE(test::eventually([&] { return all_gone(board, 0, 1); }, 1s));
}

// Handlers registered by this process, which children inherit by fork.
RUNRIG_SCENE(has_exit_handlers) {
  std::atexit([] { std::printf("handler of the parent\n"); });
  const auto body = [](int code) {
    std::atexit([] { std::printf("handler of the child\n"); });
    std::exit(code);
  };
  Process process(scene_options(arguments), body, 3);
  process.start();
  process.join();
  std::printf("exit code %d\n", process.exit_code().value_or(-1));
  return 0;
}

TEST_P(ProcessExitTest, Exit_InAChildRunsItsOwnHandlersAndNoneThatItInherited) {
  const auto result = play("has_exit_handlers");
  EXPECT_EQ(result.out, "handler of the child\nexit code 3\nhandler of the parent\n") << result.err;
}

// F3
RUNRIG_SCENE(has_unflushed_output) {
  std::printf("printed before; ");
  std::ios::sync_with_stdio(false);
  std::cout << "streamed before; ";
  Process process(scene_options(arguments), [] { std::printf("printed by the child; "); });
  process.start();
  process.join();
  std::printf("printed after");
  return 0;
}

TEST_P(ProcessExitTest, Output_BufferedBeforeTheStartAppearsOnce) {
  const auto result = play("has_unflushed_output");
  EXPECT_EQ(result.out, "printed before; streamed before; printed by the child; printed after") << result.err;
}

RUNRIG_SCENE(forgets_to_wait_in_a_fork) {
  Process process(scene_options(arguments), test::sleep_long);
  process.start();
  std::fflush(nullptr);
  const pid_t pid = ::fork();  // not one of ours
  if (pid == 0) std::exit(active_children().empty() ? 6 : 7);
  int status = 0;
  while (::waitpid(pid, &status, 0) == -1 && errno == EINTR) {
  }
  const bool lives = process.is_alive();
  process.kill();
  process.join();
  return lives && WIFEXITED(status) && WEXITSTATUS(status) == 6 ? 4 : 5;
}

TEST_P(ProcessExitTest, Exit_OfAForkThatIsNotOursLeavesOurChildrenAlone) {
  const auto result = play("forgets_to_wait_in_a_fork");
  EXPECT_EQ(result.exit_code, 4) << result.err;
}

TEST_P(ProcessExitTest, ThreadsOfAChildEndWithIt) {
  const auto body = [] {
    std::thread(test::sleep_long).detach();
    std::exit(6);
  };
  EXPECT_EQ(run(body), 6);
}

TEST_P(ProcessExitTest, PthreadExitOfTheFirstThreadLeavesTheProcessToTheOthers) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer's own thread stays, and the process with it";
#endif
  test::Board board;
  const auto body = [](std::string name) {
    std::thread([name] {
      std::this_thread::sleep_for(100ms);
      test::Board{name}[0] = 1;
    }).detach();
    ::pthread_exit(nullptr);
  };
  EXPECT_EQ(run(body, board.name()), 0);
  EXPECT_EQ(board[0], 1);
}

RUNRIG_FOR_EACH_START_METHOD(ProcessExitTest);

}  // namespace
}  // namespace runrig
