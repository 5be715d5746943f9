#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "manager_support.hpp"
#include "runrig/sync/error.hpp"

/// Proxies that travel, proxies in managed objects, and proxies in C++ types.
namespace runrig {
namespace {

using namespace std::chrono_literals;
using pickle::Object;
using pickle::Slice;
using ::testing::ElementsAre;
using ::testing::Pair;

/// A manager of this process, and a client that has the typed proxies.
class ProxyTest : public ::testing::Test {
 protected:
  [[nodiscard]] SyncManager connected() {
    SyncManager manager({.address = serving_.server().address(), .authentication = test::manager_key()});
    manager.connect();
    return manager;
  }
  test::Serving serving_;
  SyncManager manager_ = connected();
};

TEST_F(ProxyTest, NestedProxies_AListKeepsTheListsInIt) {
  const auto outer = manager_.list<ListProxy<int>>();
  {
    const auto inner = manager_.list<int>({1, 2});
    outer.append(inner);
    inner.append(3);
  }
  EXPECT_EQ(manager_.number_of_objects(), 2U) << "the inner one is kept by the outer one";
  const ListProxy<int> again = outer[0];
  EXPECT_THAT(again.copy(), ElementsAre(1, 2, 3));
  again.append(4);
  EXPECT_THAT(outer[-1].copy(), ElementsAre(1, 2, 3, 4)) << "not a copy";
  EXPECT_EQ(outer[0], again);
  EXPECT_THAT(outer.str(), ::testing::StartsWith("[<ListProxy object, typeid 'list' at 0x"));
  outer.erase(0);
  EXPECT_EQ(again.size(), 4U);
}

TEST_F(ProxyTest, NestedProxies_WhatIsTakenOutLastsUntilItIsReferredTo) {
  const auto outer = manager_.list<ListProxy<int>>();
  outer.append(manager_.list<int>({5}));
  const ListProxy<int> inner = outer.pop();  // the last reference was the outer list's
  EXPECT_THAT(inner.copy(), ElementsAre(5));
}

TEST_F(ProxyTest, NestedProxies_GoWithWhatHoldsThem) {
  const std::size_t before = manager_.number_of_objects();
  {
    const auto dict = manager_.dict<std::string, ListProxy<int>>();
    dict.set("a", manager_.list<int>({1}));
    dict.set("b", manager_.list<int>({2}));
    EXPECT_EQ(manager_.number_of_objects(), before + 3);
    EXPECT_THAT(dict["b"].copy(), ElementsAre(2));
    dict.erase("a");
    EXPECT_EQ(manager_.number_of_objects(), before + 2);
    const auto queue = manager_.Queue<DictProxy<std::string, ListProxy<int>>>();
    queue.put(dict);
    EXPECT_EQ(queue.get(), dict);
    const auto space = manager_.Namespace();
    space.set("dict", dict);
    EXPECT_THAT((space.get<DictProxy<std::string, ListProxy<int>>>("dict")["b"].copy()), ElementsAre(2));
  }
  EXPECT_EQ(manager_.number_of_objects(), before);
}

TEST_F(ProxyTest, NestedProxies_WhatAKilledClientHadPutInStays) {
  const auto outer = manager_.list<ListProxy<int>>();
  const auto ready = manager_.Event();
  test::Child client([&] {
    SyncManager there = connected();
    outer.append(there.list<int>({7}));
    const auto own = there.list<int>({8});
    ready.set();
    std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(ready.wait(60s));
  client.signal(SIGKILL);
  EXPECT_EQ(client.join(), -SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return manager_.number_of_objects() == 3; })) << "outer, ready and the inner one";
  EXPECT_THAT(outer[0].copy(), ElementsAre(7));
}

TEST_F(ProxyTest, AProxyOfAnotherManagerIsKeptAsItIs) {
  test::Serving other;
  SyncManager there({.address = other.server().address(), .authentication = test::manager_key()});
  there.connect();
  const auto foreign = there.list<int>({1, 2, 3});
  const auto list = manager_.list<ListProxy<int>>();
  list.append(foreign);
  EXPECT_THAT(list[0].copy(), ElementsAre(1, 2, 3)) << "used by its own address, with the key that is known for it";
}

TEST_F(ProxyTest, List_SlicesAndIterators) {
  const auto list = manager_.list<int>({0, 1, 2, 3, 4, 5, 6});
  EXPECT_THAT((list[Slice{1, 3}]), ElementsAre(1, 2));
  EXPECT_THAT((list[Slice{-2, std::nullopt}]), ElementsAre(5, 6));
  EXPECT_THAT((list[Slice{std::nullopt, std::nullopt, -3}]), ElementsAre(6, 3, 0));
  EXPECT_THAT((list[Slice{5, 2}]), ElementsAre());
  EXPECT_THAT((list[Slice{INT64_MIN, INT64_MAX, INT64_MAX}]), ElementsAre(0));
  EXPECT_THAT((list[Slice{INT64_MAX, INT64_MIN, INT64_MIN}]), ElementsAre(6));
  list.set(Slice{1, 3}, {10, 20, 30});
  EXPECT_THAT(list.copy(), ElementsAre(0, 10, 20, 30, 3, 4, 5, 6));
  list.set(Slice{std::nullopt, std::nullopt, 4}, {-1, -2});
  EXPECT_THAT(list.copy(), ElementsAre(-1, 10, 20, 30, -2, 4, 5, 6));
  list.erase(Slice{std::nullopt, std::nullopt, -2});
  EXPECT_THAT(list.copy(), ElementsAre(-1, 20, -2, 5));
  EXPECT_EQ(test::python_error([&] { list.set(Slice{0, 4, 2}, {1}); }), "ValueError");
  EXPECT_EQ(test::python_error([&] { (void)list[Slice{0, 4, 0}]; }), "ValueError");
  const IteratorProxy<int> backwards(list.call<Proxy>("__reversed__"));
  EXPECT_EQ(backwards.next(), 5);
  EXPECT_EQ(backwards.next(), -2);
  backwards.call("close");
  EXPECT_EQ(backwards.next(), std::nullopt);
  EXPECT_EQ(backwards.next(), std::nullopt) << "and for ever";
}

TEST_F(ProxyTest, List_AFewBytesCostTheServerNoMoreThanALimit) {
  const auto list = manager_.list<int>({1});
  const Object itself = list.to_object();
  std::string error;
  std::size_t before = 0;
  for (int i = 0; i < 40 && error.empty(); ++i) {
    before = list.size();
    error = test::python_error([&] { list.call("extend", itself); });
  }
  EXPECT_EQ(error, "MemoryError");
  EXPECT_LE(before, std::size_t{1} << 23);
  EXPECT_EQ(list.size(), before);
  EXPECT_EQ(test::python_error([&] { list.call("__imul__", 2); }), "MemoryError");
  list.call("__imul__", 0);
}

TEST_F(ProxyTest, Dict_IteratesOverTheKeysThatThereWere) {
  const auto dict = manager_.dict<std::string, int>({{"a", 1}, {"b", 2}});
  const auto keys = dict.iterate();
  EXPECT_EQ(keys.next(), "a");
  dict.set("c", 3);
  EXPECT_EQ(keys.next(), "b");
  EXPECT_EQ(keys.next(), std::nullopt);
}

TEST_F(ProxyTest, ConditionOverALockOfTheManager) {
  for (const bool recursive : {false, true}) {
    SCOPED_TRACE(recursive);
    const auto lock = recursive ? manager_.RLock() : manager_.Lock();
    const auto condition = manager_.Condition(lock);
    const auto value = manager_.Value<int>('i', 0);
    EXPECT_EQ(test::python_error([&] { condition.notify(); }), "RuntimeError");
    {
      const std::scoped_lock guard(lock);
      std::thread other([&] { EXPECT_FALSE(condition.acquire(0.01s)) << "it is that lock"; });
      other.join();
    }
    std::thread waiter([&] {
      const std::scoped_lock guard(lock);
      condition.wait_until_true([&] { return value.get() == 1; });
      value.set(2);
    });
    {
      const std::scoped_lock guard(condition);
      value.set(1);
      condition.notify_all();
    }
    waiter.join();
    EXPECT_EQ(value.get(), 2);
    const std::scoped_lock guard(condition);
    EXPECT_FALSE(condition.wait(0.01s));
  }
  for (const Object& none : {manager_.Event().to_object(), Object(5)}) {
    EXPECT_THAT(test::python_error([&] { (void)manager_.create("Condition", none); }),
                ::testing::HasSubstr("no Lock or RLock of this manager"));
  }
}

TEST_F(ProxyTest, TypedProxiesHavePythonsMethods) {
  const auto list = manager_.list<std::string>({"b"});
  list.extend({"c", "a"});
  list.insert(0, "z");
  list.sort();
  EXPECT_THAT(list.copy(), ElementsAre("a", "b", "c", "z"));
  list.reverse();
  list.remove("b");
  list.set(0, "y");
  EXPECT_EQ(list.index("a"), 2U);
  EXPECT_EQ(list.count("c"), 1U);
  EXPECT_TRUE(list.contains("y"));
  EXPECT_EQ(list.pop(), "a");
  EXPECT_EQ(list.size(), 2U);
  EXPECT_EQ(test::thrown_code([&] { (void)ListProxy<int>(list)[0]; }), ErrorKind::format) << "a str is no int";

  const auto dict = manager_.dict<int, double>({{1, 0.5}});
  dict.update({{2, 1.5}});
  EXPECT_EQ(dict.get(3), std::nullopt);
  EXPECT_EQ(dict.get(3, 9.0), 9.0);
  EXPECT_EQ(dict.set_default(3, 2.5), 2.5);
  EXPECT_THAT(dict.items(), ElementsAre(Pair(1, 0.5), Pair(2, 1.5), Pair(3, 2.5)));
  EXPECT_THAT(dict.keys(), ElementsAre(1, 2, 3));
  EXPECT_THAT(dict.values(), ElementsAre(0.5, 1.5, 2.5));
  EXPECT_EQ(dict.pop(2), 1.5);
  EXPECT_THAT(dict.pop_item(), Pair(3, 2.5));
  EXPECT_EQ(test::python_error([&] { (void)dict[7]; }), "KeyError");
  dict.clear();
  EXPECT_EQ(dict.size(), 0U);

  const auto array = manager_.Array<int>('h', {1, 2});
  array.set(1, 300);
  EXPECT_EQ(array[-1], 300);
  EXPECT_EQ(array.size(), 2U);
  EXPECT_EQ(test::python_error([&] { array.set(0, 70'000); }), "OverflowError");

  const auto queue = manager_.Queue<int>(1);
  queue.put(1);
  EXPECT_THROW(queue.put_nowait(2), Full);
  EXPECT_THROW(queue.put(2, 0.01s), Full);
  EXPECT_EQ(queue.get(1s), 1);
  EXPECT_THROW((void)queue.get_nowait(), Empty);
  queue.task_done();
  queue.join();

  const auto semaphore = manager_.BoundedSemaphore(1);
  EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.acquire(0.01s));
  semaphore.release();
  const auto event = manager_.Event();
  EXPECT_FALSE(event.wait(0.01s));
  event.set();
  event.wait();
  const auto barrier = manager_.Barrier(1);
  EXPECT_EQ(barrier.wait(), 0U);
  barrier.abort();
  EXPECT_TRUE(barrier.broken());
  EXPECT_THROW((void)barrier.wait(1s), BrokenBarrier);
}

TEST_F(ProxyTest, AProxyOfNothingIsAMistakeOfTheCaller) {
  EXPECT_THROW((void)ListProxy<int>().size(), std::logic_error);
  EXPECT_THROW((void)Proxy().to_object(), std::logic_error);
  EXPECT_THROW((void)Proxy::from_object(Object(5)), FormatError);
}

TEST_F(ProxyTest, AProxyOfWhatIsGoneSaysSo) {
  Object travelling;
  {
    const auto list = manager_.list<int>({1});
    travelling = pickle::loads(pickle::dumps(list.to_object()));
  }
  EXPECT_THROW((void)Proxy::from_object(travelling), RemoteError);
}

/// A tree whose nodes are served as they are asked for.
struct Node {
  explicit Node(std::string text) : name(std::move(text)) {}
  std::shared_ptr<Node> child(const std::string& child_name) {
    const std::scoped_lock guard(mutex);
    auto& place = children[child_name];
    if (place == nullptr) place = std::make_shared<Node>(name + "/" + child_name);
    return place;
  }
  [[nodiscard]] std::shared_ptr<Node> none() const { return nullptr; }
  [[nodiscard]] std::string text() const { return name; }
  std::string name;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Node>> children;
};

TEST(ManagerTypesTest, MethodsMayReturnObjectsThatAreServed) {
  ManagedTypes types = ManagedTypes::standard();
  types.add_without_create<Node>("Node")
      .method("text", &Node::text)
      .method("child", &Node::child, "Node")
      .method("none", &Node::none, "Node");
  types.share("root", std::make_shared<Node>("root"))
      .method("child", &Node::child, "Node")
      .method(
          "append_to", +[](Node& node, const ListProxy<std::string>& list) { list.append(node.name); });
  EXPECT_THROW((types.add<Node, std::string>("Other").method("child", &Node::child, "list")), std::logic_error)
      << "a list is no Node";
  test::Serving serving(types);
  BaseManager manager = serving.client();
  const Proxy root = manager.create("root");
  const auto a = root.call<Proxy>("child", std::string("a"));
  EXPECT_EQ(a.type_id(), "Node");
  EXPECT_EQ(a.call<std::string>("text"), "root/a");
  EXPECT_EQ(a.call<Proxy>("child", std::string("b")).call<std::string>("text"), "root/a/b");
  EXPECT_EQ(root.call<Proxy>("child", std::string("a")), a) << "the same object";
  EXPECT_TRUE(a.call("none").is_none());
  EXPECT_THAT(a.exposed(), ::testing::UnorderedElementsAre("text", "child", "none"));
  EXPECT_THAT(test::python_error([&] { (void)manager.create("Node"); }),
              ::testing::HasSubstr("not for clients to create"));
  const std::size_t objects = manager.number_of_objects();
  EXPECT_EQ(objects, 2U) << "the root and a";
  const auto list = manager.create<ListProxy<std::string>>("list");
  root.call("append_to", list);
  EXPECT_THAT(list.copy(), ElementsAre("root"));
}

class ProxyOfProcessTest : public test::EachStartMethod {};
RUNRIG_FOR_EACH_START_METHOD(ProxyOfProcessTest);

TEST_P(ProxyOfProcessTest, ProxiesAreArgumentsOfProcesses) {
  set_start_method(GetParam(), Force::yes);
  SyncManager manager;
  manager.start();
  const auto list = manager.list<int>({1});
  const auto lock = manager.Lock();
  EXPECT_EQ(run(
                [](const ListProxy<int>& there, const AcquirerProxy& guard, int value) {
                  const std::scoped_lock held(guard);
                  there.append(value);
                },
                list, lock, 2),
            0);
  EXPECT_THAT(list.copy(), ElementsAre(1, 2));
  EXPECT_TRUE(test::eventually([&] { return manager.number_of_objects() == 2; })) << "the child's references are gone";
}

TEST_P(ProxyOfProcessTest, AManagersOwnKeyIsKnownToTheChildren) {
  set_start_method(GetParam(), Force::yes);
  test::Serving serving;  // whose key is not this process's
  SyncManager manager({.address = serving.server().address(), .authentication = test::manager_key()});
  manager.connect();
  const auto queue = manager.Queue<ListProxy<int>>();
  ProcessOptions how = options();
  how.other_threads = OtherThreads::allow;  // the server's
  Process child(
      how,
      [](const QueueProxy<ListProxy<int>>& there) {
        auto [ours, theirs] = Pipe();
        ours.send(there);
        theirs.recv<QueueProxy<ListProxy<int>>>().get().append(3);
      },
      queue);
  const auto list = manager.list<int>();
  queue.put(list);
  child.start();
  child.join();
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_THAT(list.copy(), ElementsAre(3));
}

/// Through TCP, where the kernel says of nobody who it is.
class ProxyOverTcpTest : public ::testing::Test {
 protected:
  test::Serving serving_{ManagedTypes::standard(), Address("127.0.0.1", 0)};
  [[nodiscard]] SyncManager connected() {
    SyncManager manager({.address = serving_.server().address(), .authentication = test::manager_key()});
    manager.connect();
    return manager;
  }
};

TEST_F(ProxyOverTcpTest, AKilledClientOfOursGivesBackItsLocksAndReferences) {
  SyncManager manager = connected();
  const auto lock = manager.Lock();
  const auto recursive = manager.RLock();
  const auto semaphore = manager.Semaphore(1);
  const auto ready = manager.Event();
  const auto list = manager.list<ListProxy<int>>();
  const std::size_t before = manager.number_of_objects();
  const test::TemporaryDirectory folder;
  test::Child client([&] {
    SyncManager there = connected();
    const auto own = there.dict<int, int>();
    list.append(there.list<int>({1}));
    lock.acquire();
    recursive.acquire();
    semaphore.acquire();
    // Its own child has copies of all it has, and lives on until the test is over.
    const test::Child child([&] {
      while (std::filesystem::exists(folder.path())) std::this_thread::sleep_for(20ms);
    });
    ready.set();
    std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(ready.wait(60s));
  EXPECT_EQ(manager.number_of_objects(), before + 2);
  EXPECT_FALSE(lock.try_acquire());
  client.signal(SIGKILL);
  EXPECT_TRUE(lock.acquire(30s));
  EXPECT_TRUE(semaphore.acquire(30s));
  EXPECT_TRUE(test::eventually([&] { return manager.number_of_objects() == before + 1; })) << "the list in the list";
  EXPECT_THAT(list[0].copy(), ElementsAre(1));
}

TEST_F(ProxyOverTcpTest, AClientGivesBackItsOwnReferencesOnly) {
  SyncManager manager = connected();
  const auto list = manager.list<int>({1});
  for (int i = 0; i < 3; ++i) {
    Connection connection = Client(serving_.server().address(), {.authentication = test::manager_key()});
    connection.send(Object::tuple({Object(), "decref", Object::tuple({list.id()}), Object::dict()}));
    EXPECT_EQ(connection.recv().at(std::size_t{0}), Object("#TRACEBACK"));
  }
  EXPECT_EQ(list.size(), 1U);
}

}  // namespace
}  // namespace runrig
