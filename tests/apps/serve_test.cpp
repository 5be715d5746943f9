#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "command.hpp"
#include "running.hpp"
#include "runrig/engine/manager.hpp"
#include "runrig/sync/error.hpp"

/// `runrig serve`.
namespace runrig {
namespace {

namespace fs = std::filesystem;

class ServeTest : public ::testing::Test {
 protected:
  ServeTest() { write_key("secret of the test\n"); }
  void write_key(const std::string& text, fs::perms mode = fs::perms::owner_read | fs::perms::owner_write) const {
    std::ofstream(key()) << text;
    fs::permissions(key(), mode);
  }
  [[nodiscard]] std::string key() const { return folder_ / "key"; }
  [[nodiscard]] std::string socket() const { return folder_ / "socket"; }
  [[nodiscard]] std::vector<std::string> arguments(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"serve", "--address", socket(), "--authkey-file", key(), "--allow-md5"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] BaseManager client() const {
    const std::string_view text = "secret of the test";
    const auto bytes = std::as_bytes(std::span(text));
    BaseManager manager({.address = Address(socket()), .authentication = {.key = {bytes.begin(), bytes.end()}}});
    EXPECT_TRUE(test::eventually([&] {
      try {
        manager.connect();
        return true;
      } catch (const Error&) {
        return false;
      }
    }));
    return manager;
  }
  const test::TemporaryDirectory folder_;
};

TEST_F(ServeTest, QueuesAndDictionariesAreServedByNameUntilTheSignal) {
  test::Running server(arguments({"--queue", "tasks:2", "--queue", "more", "--dict", "results"}));
  {
    BaseManager manager = client();
    const Proxy tasks = manager.create("tasks");
    tasks.call("put", 1);
    tasks.call("put", std::string("two"));
    EXPECT_THROW(tasks.call("put", 3, false), Full);
    EXPECT_EQ(client().create("tasks").call<int>("get"), 1) << "the same queue for all";
    manager.create("more").call("put", 4);
    manager.create("results").call("__setitem__", std::string("a"), 5);
    if (const auto python = test::python_with("multiprocessing.managers")) {
      const auto said = test::run_command({*python, "-c",
                                           "from multiprocessing.managers import BaseManager\n"
                                           "class M(BaseManager): pass\n"
                                           "for name in ['tasks', 'results']: M.register(name)\n"
                                           "m = M('" +
                                               socket() +
                                               "', authkey=b'secret of the test')\n"
                                               "m.connect()\n"
                                               "print(m.tasks().get(), m.results().copy())"});
      EXPECT_EQ(said.out, "two {'a': 5}\n") << said.err;
    }
  }
  ::kill(server.pid(), SIGTERM);
  EXPECT_EQ(server.join(), 130);
  EXPECT_FALSE(fs::exists(socket()));
}

TEST_F(ServeTest, WhatMakesNoSenseIsRefusedInOneLine) {
  test::expect_one_line(test::runrig({"serve"}), 2, {"--address"});
  test::expect_one_line(test::runrig(arguments({"--queue", "a:x"})), 2, {"a:x"});
  test::expect_one_line(test::runrig(arguments({"--queue", "a", "--dict", "a"})), 2, {"'a'", "already"});
  test::expect_one_line(test::runrig(arguments({"--dict", "list"})), 2, {"'list'", "already"});
  test::expect_one_line(test::runrig({"serve", "--address", "nowhere", "--authkey-file", key()}), 2, {"HOST:PORT"});
  test::expect_one_line(test::runrig({"serve", "--address", socket(), "--authkey-file", folder_ / "none"}), 1,
                        {"none", "No such file"});
  test::expect_one_line(test::runrig({"serve", "--address", "/no/such/folder/s", "--authkey-file", key()}), 1,
                        {"/no/such/folder/s"});
  write_key("\n");
  test::expect_one_line(test::runrig(arguments()), 2, {"empty key"});
  write_key("secret", fs::perms::owner_read | fs::perms::others_read);
  test::expect_one_line(test::runrig(arguments()), 1, {"chmod 600"});
  EXPECT_FALSE(fs::exists(socket()));
}

}  // namespace
}  // namespace runrig
