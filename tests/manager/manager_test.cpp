#include "runrig/engine/manager.hpp"

#include <gmock/gmock.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <string>
#include <vector>

#include "manager_support.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using pickle::Object;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ManagerTest : public ::testing::Test {
 protected:
  test::Serving serving_;
  BaseManager manager_ = serving_.client();
};

TEST_F(ManagerTest, List_HasPythonsMethods) {
  const Proxy list = manager_.create("list", std::vector{3, 1, 2});
  list.call("append", 9);
  list.call("extend", std::vector{7, 7});
  EXPECT_EQ(list.call<int>("__len__"), 6);
  EXPECT_EQ(list.call<int>("__getitem__", -1), 7);
  EXPECT_EQ(list.call<int>("pop"), 7);
  EXPECT_EQ(list.call<int>("pop", 0), 3);
  list.call("insert", 1, std::string("two"));
  EXPECT_EQ(list.str(), "[1, 'two', 2, 9, 7]");
  list.call("remove", std::string("two"));
  list.call("sort");
  list.call("reverse");
  EXPECT_EQ(list.call<std::vector<int>>("copy"), (std::vector{9, 7, 2, 1}));
  EXPECT_EQ(list.call<int>("index", 2.0), 2) << "2 and 2.0 are equal in Python";
  EXPECT_EQ(list.call<int>("count", 5), 0);
  EXPECT_TRUE(list.call<bool>("__contains__", 9));
  list.call("__setitem__", 0, 8);
  list.call("__delitem__", 1);
  EXPECT_EQ(list.call<std::vector<int>>("__add__", std::vector{4}), (std::vector{8, 2, 1, 4}));
  EXPECT_EQ(list.call<std::vector<int>>("__mul__", 2), (std::vector{8, 2, 1, 8, 2, 1}));
  EXPECT_EQ(test::python_error([&] { list.call("__getitem__", 3); }), "IndexError");
  EXPECT_EQ(test::python_error([&] { list.call("remove", 77); }), "ValueError");
  EXPECT_EQ(test::python_error([&] { list.call("append"); }), "TypeError");
  EXPECT_EQ(test::python_error([&] { list.call("__mul__", 1'000'000'000); }), "MemoryError");
  list.call("clear");
  EXPECT_EQ(test::python_error([&] { list.call("pop"); }), "IndexError");
}

TEST_F(ManagerTest, Dict_HasPythonsMethodsAndKeys) {
  const Proxy dict = manager_.create("dict", std::map<std::string, int>{{"a", 1}});
  dict.call("__setitem__", 1, std::string("int"));
  dict.call("__setitem__", 1.0, std::string("the same key"));
  dict.call("__setitem__", true, std::string("once more"));
  EXPECT_EQ(dict.call<int>("__len__"), 2);
  EXPECT_EQ(dict.call<std::string>("__getitem__", 1), "once more");
  dict.call("update", std::map<std::string, int>{{"b", 2}, {"a", 3}});
  EXPECT_EQ(dict.str(), "{'a': 3, 1: 'once more', 'b': 2}");
  EXPECT_EQ(dict.call<int>("pop", std::string("a")), 3);
  EXPECT_EQ(dict.call<int>("pop", std::string("a"), 9), 9);
  EXPECT_EQ(dict.call<int>("get", std::string("zz"), 5), 5);
  EXPECT_TRUE(dict.call("get", std::string("zz")).is_none());
  EXPECT_EQ(dict.call<int>("setdefault", std::string("c"), 4), 4);
  EXPECT_EQ(dict.call<int>("setdefault", std::string("c"), 5), 4);
  EXPECT_EQ(dict.call("popitem"), Object::tuple({"c", 4}));
  EXPECT_EQ(dict.call("keys"), Object::list({1, "b"}));
  EXPECT_EQ(dict.call("values"), Object::list({"once more", 2}));
  EXPECT_EQ(dict.call("items"), Object::list({Object::tuple({1, "once more"}), Object::tuple({"b", 2})}));
  EXPECT_EQ(dict.call("copy"), Object::dict({{1, "once more"}, {"b", 2}}));
  EXPECT_TRUE(dict.call<bool>("__contains__", std::string("b")));
  EXPECT_EQ(test::python_error([&] { dict.call("__getitem__", std::string("zz")); }), "KeyError");
  for (const Object& key : {Object::list(), Object(pickle::Slice{}), dict.to_object(), Object::exception("ValueError"),
                            Object::tuple({Object::dict()})}) {
    EXPECT_EQ(test::python_error([&] { dict.call("__setitem__", key, 1); }), "TypeError");
  }
  EXPECT_EQ(test::python_error([&] { dict.call("__setitem__", std::vector{1}, 1); }), "TypeError");
  dict.call("clear");
  EXPECT_EQ(dict.call<int>("__len__"), 0);
}

TEST_F(ManagerTest, NamespaceValueAndArrayHoldWhatTheyAreGiven) {
  const Proxy space = manager_.create("Namespace");
  space.call("__setattr__", std::string("x"), 10);
  EXPECT_EQ(space.call<int>("__getattribute__", std::string("x")), 10);
  space.call("__delattr__", std::string("x"));
  EXPECT_EQ(test::python_error([&] { space.call("__getattribute__", std::string("x")); }), "AttributeError");

  const Proxy value = manager_.create("Value", std::string("i"), 5);
  value.call("set", 6);
  EXPECT_EQ(value.call<int>("get"), 6);
  EXPECT_EQ(value.str(), "Value('i', 6)");

  const Proxy array = manager_.create("Array", std::string("h"), std::vector{1, 2, 3});
  array.call("__setitem__", -1, 30000);
  EXPECT_EQ(array.call<int>("__getitem__", 2), 30000);
  EXPECT_EQ(array.call<int>("__len__"), 3);
  EXPECT_EQ(test::python_error([&] { array.call("__setitem__", 0, 40000); }), "OverflowError");
  EXPECT_EQ(test::python_error([&] { array.call("__setitem__", 0, 0.5); }), "TypeError");
  EXPECT_THAT(test::thrown_text([&] { (void)manager_.create("Array", std::string("u"), std::vector{1}); }),
              HasSubstr("bad typecode"));
}

TEST_F(ManagerTest, Queue_PutAndGetWithTimeoutsAndJoin) {
  const Proxy queue = manager_.create("JoinableQueue", 2);
  queue.call("put", 1);
  queue.call("put", std::string("two"), true, 5.0);
  EXPECT_TRUE(queue.call<bool>("full"));
  EXPECT_THROW(queue.call("put", 3, false), Full);
  EXPECT_THROW(queue.call("put", 3, true, 0.01), Full);
  EXPECT_THROW(queue.call("put_nowait", 3), Full);
  EXPECT_EQ(queue.call<int>("qsize"), 2);
  EXPECT_EQ(queue.call<int>("get"), 1);
  EXPECT_EQ(queue.call<std::string>("get", true, 5.0), "two");
  EXPECT_THROW(queue.call("get", true, 0.01), Empty);
  EXPECT_THROW(queue.call("get_nowait"), Empty);
  auto joined = std::async(std::launch::async, [&] { queue.call("join"); });
  EXPECT_EQ(joined.wait_for(50ms), std::future_status::timeout);
  queue.call("task_done");
  queue.call("task_done");
  joined.get();
  EXPECT_EQ(test::python_error([&] { queue.call("task_done"); }), "ValueError");
  auto got = std::async(std::launch::async, [&] { return queue.call<int>("get"); });
  queue.call("put", 8);
  EXPECT_EQ(got.get(), 8);
}

TEST_F(ManagerTest, LocksBelongToThreadsAsPythonsDo) {
  const Proxy lock = manager_.create("Lock");
  const Proxy recursive = manager_.create("RLock");
  EXPECT_TRUE(lock.call<bool>("acquire"));
  EXPECT_FALSE(lock.call<bool>("acquire", false));
  EXPECT_FALSE(lock.call<bool>("acquire", true, 0.01));
  EXPECT_TRUE(recursive.call<bool>("acquire"));
  EXPECT_TRUE(recursive.call<bool>("acquire"));
  std::thread([&] {
    EXPECT_FALSE(recursive.call<bool>("acquire", false));
    EXPECT_EQ(test::python_error([&] { recursive.call("release"); }), "RuntimeError");
    lock.call("release");  // another thread may
  }).join();
  EXPECT_EQ(test::python_error([&] { lock.call("release"); }), "RuntimeError");
  recursive.call("release");
  recursive.call("release");
  EXPECT_EQ(test::python_error([&] { recursive.call("release"); }), "RuntimeError");
  std::thread([&] { EXPECT_TRUE(recursive.call<bool>("acquire")); }).join();
  EXPECT_TRUE(recursive.call<bool>("acquire")) << "the thread that had it has ended";
}

TEST_F(ManagerTest, SemaphoresEventsConditionsAndBarriersDoAsPythonsDo) {
  const Proxy semaphore = manager_.create("BoundedSemaphore", 1);
  EXPECT_TRUE(semaphore.call<bool>("acquire"));
  EXPECT_FALSE(semaphore.call<bool>("acquire", true, 0.01));
  semaphore.call("release");
  EXPECT_EQ(test::python_error([&] { semaphore.call("release"); }), "ValueError");

  const Proxy event = manager_.create("Event");
  EXPECT_FALSE(event.call<bool>("wait", 0.01));
  auto waiting = std::async(std::launch::async, [&] { return event.call<bool>("wait"); });
  event.call("set");
  EXPECT_TRUE(waiting.get());
  EXPECT_TRUE(event.call<bool>("is_set"));
  event.call("clear");
  EXPECT_FALSE(event.call<bool>("is_set"));

  const Proxy condition = manager_.create("Condition");
  EXPECT_EQ(test::python_error([&] { condition.call("notify"); }), "RuntimeError");
  std::promise<void> has_it;
  auto notified = std::async(std::launch::async, [&] {
    condition.call("acquire");
    has_it.set_value();
    const bool result = condition.call<bool>("wait", 30.0);
    condition.call("release");
    return result;
  });
  has_it.get_future().get();
  condition.call("acquire");
  condition.call("notify");
  condition.call("release");
  EXPECT_TRUE(notified.get());
  condition.call("acquire");
  EXPECT_FALSE(condition.call<bool>("wait", 0.01));
  condition.call("release");

  const Proxy barrier = manager_.create("Barrier", 2);
  EXPECT_EQ(barrier.call<int>("__getattribute__", std::string("parties")), 2);
  auto other = std::async(std::launch::async, [&] { return barrier.call<int>("wait"); });
  EXPECT_EQ(barrier.call<int>("wait") + other.get(), 1);
  EXPECT_THROW(barrier.call("wait", 0.01), BrokenBarrier);
  EXPECT_TRUE(barrier.call<bool>("__getattribute__", std::string("broken")));
  barrier.call("reset");
  EXPECT_FALSE(barrier.call<bool>("__getattribute__", std::string("broken")));
}

TEST_F(ManagerTest, AnObjectLivesAsLongAsAProxyRefersToIt) {
  EXPECT_EQ(manager_.number_of_objects(), 0U);
  {
    const Proxy list = manager_.create("list");
    const Proxy same = list;  // NOLINT(performance-unnecessary-copy-initialization): one reference for both
    EXPECT_EQ(manager_.number_of_objects(), 1U);
    EXPECT_THAT(manager_.debug_info(), HasSubstr("refcount=1\n    []"));
  }
  EXPECT_EQ(manager_.number_of_objects(), 0U);
}

TEST_F(ManagerTest, WhatIsNotThereIsAnErrorAndTheServerGoesOn) {
  EXPECT_THAT(test::thrown_text([&] { (void)manager_.create("no such type"); }), HasSubstr("no such type"));
  const Proxy list = manager_.create("list");
  EXPECT_THAT(test::thrown_text([&] { list.call("__class__"); }), HasSubstr("not exposed"));
  EXPECT_THAT(list.exposed(), ::testing::Contains("append"));
  EXPECT_THROW(Proxy().call("append", 1), std::logic_error);
  EXPECT_EQ(list.call<int>("__len__"), 0);
}

TEST(ManagerTypesTest, TypesOfTheProgramAreServedWithTheirMethods) {
  struct Counter {
    explicit Counter(int first) : value(first) {}
    int add(int more) { return value += more; }
    [[nodiscard]] int get() const { return value; }
    std::atomic<int> value;
  };
  ManagedTypes types;
  types.add<Counter, int>("Counter")
      .method("add", &Counter::add)
      .method("get", &Counter::get)
      .method(
          "fail", +[](Counter&, const std::string& how) {
            if (how == "std") throw std::out_of_range("too far");
            throw ManagedError("ZeroDivisionError", {"by zero"});
          });
  types.share("the_counter", std::make_shared<Counter>(100)).method("add", &Counter::add);
  test::Serving serving(types);
  BaseManager manager = serving.client();
  const Proxy one = manager.create("Counter", 5);
  const Proxy other = manager.create("Counter", 7);
  EXPECT_EQ(one.call<int>("add", 3), 8);
  EXPECT_EQ(other.call<int>("get"), 7);
  EXPECT_EQ(test::python_error([&] { one.call("fail", std::string("std")); }), "IndexError");
  EXPECT_EQ(test::python_error([&] { one.call("fail", std::string("python")); }), "ZeroDivisionError");
  EXPECT_EQ(test::python_error([&] { one.call("add", std::string("three")); }), "TypeError");
  EXPECT_EQ(manager.create("the_counter").call<int>("add", 1), 101);
  EXPECT_EQ(serving.client().create("the_counter").call<int>("add", 1), 102);
}

ManagedTypes with_shared_queue() {
  ManagedTypes types = ManagedTypes::standard();
  types.share("get_queue", "Queue");
  return types;
}

class ManagerProcessTest : public test::EachStartMethod {};
RUNRIG_FOR_EACH_START_METHOD(ManagerProcessTest);

TEST_P(ManagerProcessTest, Start_ServesInAProcessOfItsOwnUntilShutdown) {
  set_start_method(GetParam(), Force::yes);
  ManagerOf<with_shared_queue> manager;
  manager.start();
  const std::string path = manager.address().path();
  {
    const Proxy queue = manager.create("get_queue");
    // A child reaches it by address and the key that it has inherited.
    Process child = make(
        [](const std::string& address) {
          BaseManager there({.address = Address::parse(address)});
          there.connect();
          there.create("get_queue").call("put", std::string("from the child"));
        },
        path);
    child.start();
    child.join();
    EXPECT_EQ(child.exit_code(), 0);
    EXPECT_EQ(queue.call<std::string>("get", true, 30.0), "from the child");
  }
  manager.shutdown();
  manager.shutdown();
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(path).parent_path()));
  EXPECT_TRUE(active_children().empty());
}

TEST_P(ManagerProcessTest, AManagerDiesWithItsParentAndLeavesNoSocket) {
  auto [ours, theirs] = Pipe();
  Process parent = make(
      [](Connection connection, int method) {
        set_start_method(static_cast<StartMethod>(method), Force::yes);
        SyncManager manager;
        manager.start();
        connection.send(manager.address().path());
        test::sleep_long();
      },
      std::move(theirs), static_cast<int>(GetParam()));
  parent.start();
  const auto path = ours.recv<std::string>();
  EXPECT_TRUE(std::filesystem::exists(path));
  parent.kill();
  parent.join();
  EXPECT_TRUE(test::eventually([&] { return !std::filesystem::exists(path); }));
}

TEST_P(ManagerProcessTest, Start_TellsWhyItCannot) {
  set_start_method(GetParam(), Force::yes);
  SyncManager manager({.address = Address("/no/such/folder/socket")});
  EXPECT_THAT(test::thrown_text([&] { manager.start(); }), HasSubstr("/no/such/folder/socket"));
  EXPECT_TRUE(active_children().empty());
}

}  // namespace
}  // namespace runrig
