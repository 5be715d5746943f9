#include <gmock/gmock.h>
#include <signal.h>

#include <string>
#include <vector>

#include "manager_support.hpp"
#include "runrig/channel/listener.hpp"
#include "runrig/engine/proxies.hpp"
#include "runrig/sync/error.hpp"

/// A manager's server and clients that misbehave, or vanish.
namespace runrig {
namespace {

using namespace std::chrono_literals;
using pickle::Object;

class ManagerServerTest : public ::testing::Test {
 protected:
  [[nodiscard]] Connection connect() {
    return Client(serving_.server().address(), {.authentication = test::manager_key()});
  }
  test::Serving serving_;
  BaseManager manager_ = serving_.client();
};

// W3: whatever a client says, the server and the others' objects go on.
TEST_F(ManagerServerTest, HostileRequestsDisturbNobody) {
  const Proxy list = manager_.create("list", std::vector{1});
  const std::string id = list.id();
  const Object none = Object::dict();
  const std::vector<Object> server_requests{
      Object(7),
      Object(),
      Object::tuple({}),
      Object::tuple({Object(), "dummy", Object::tuple({})}),
      Object::tuple({Object(), 5, Object::tuple({}), none}),
      Object::tuple({Object(), "dummy", "args", none}),
      Object::tuple({Object(), "dummy", Object::tuple({}), Object::list({})}),
      Object::tuple({Object(), "__init__", Object::tuple({}), none}),
      Object::tuple({Object(), "create", Object::tuple({}), none}),
      Object::tuple({Object(), "create", Object::tuple({7}), none}),
      Object::tuple({Object(), "create", Object::tuple({"list", 1, 2, 3}), none}),
      Object::tuple({Object(), "create", Object::tuple({"Semaphore", -1}), none}),
      Object::tuple({Object(), "incref", Object::tuple({"../../etc/passwd"}), none}),
      Object::tuple({Object(), "incref", Object::tuple({Object::list({})}), none}),
      Object::tuple({Object(), "decref", Object::tuple({"ffff"}), none}),
      Object::tuple({Object(), "get_methods", Object::tuple({id}), none}),
      Object::tuple({Object(), "#SESSION", Object::tuple({}), none}),
      Object::tuple({Object(), "#SESSION", Object::tuple({""}), none}),
      Object::tuple({Object(), "#SESSION", Object::tuple({7}), none}),
      Object::tuple({Object(), "dummy", Object::tuple({}), Object::dict({{"#session", 7}})}),
  };
  for (const Object& each : server_requests) {
    Connection connection = connect();
    connection.send(each);
    EXPECT_EQ(connection.recv().at(std::size_t{0}), Object("#TRACEBACK"));
  }
  Connection connection = connect();
  connection.send(Object::tuple({Object(), "accept_connection", Object::tuple({"x"}), none}));
  EXPECT_EQ(connection.recv(), Object::tuple({"#RETURN", Object()}));
  const std::vector<Object> object_requests{
      Object::tuple({"ffff", "append", Object::tuple({1}), none}),
      Object::tuple({7, "append", Object::tuple({1}), none}),
      Object::tuple({id, "__class__", Object::tuple({}), none}),
      Object::tuple({id, "_secret", Object::tuple({}), none}),
      Object::tuple({id, "append", Object::tuple({}), none}),
      Object(7),
      Object::tuple({id, "append", 1, none}),
      Object::tuple({id, "append", Object::tuple({1}), Object::dict({{"object", 1}})}),
      Object::tuple({id, "append", Object::tuple({}), Object::dict({{7, 1}})}),
      Object::tuple({id, "__getitem__", Object::tuple({"x"}), none}),
      Object::tuple({id, "__imul__", Object::tuple({1'000'000'000'000}), none}),
  };
  for (const Object& each : object_requests) {
    connection.send(each);
    EXPECT_THAT(connection.recv().at(std::size_t{0}).as_string(), ::testing::AnyOf("#TRACEBACK", "#ERROR"));
  }
  EXPECT_EQ(list.call("copy"), Object::list({1}));
}

TEST_F(ManagerServerTest, AClientGivesBackItsOwnReferencesOnly) {
  const Proxy list = manager_.create("list", std::vector{1});
  const test::Child other([&] {
    for (int i = 0; i < 20; ++i) {
      Connection connection = connect();
      connection.send(Object::tuple({Object(), "decref", Object::tuple({list.id()}), Object::dict()}));
      EXPECT_EQ(connection.recv().at(std::size_t{0}), Object("#TRACEBACK"));
    }
  });
  EXPECT_EQ(const_cast<test::Child&>(other).join(), 0);
  EXPECT_EQ(list.call<int>("__len__"), 1);
}

// W4
TEST_F(ManagerServerTest, AKilledClientGivesBackItsLocksAndReferences) {
  const Proxy lock = manager_.create("Lock");
  const Proxy recursive = manager_.create("RLock");
  const Proxy semaphore = manager_.create("Semaphore", 1);
  const Proxy ready = manager_.create("Event");
  const std::size_t before = manager_.number_of_objects();
  test::Child client([&] {
    BaseManager there = serving_.client();
    const Proxy own = there.create("dict");
    // As proxies of another process are used: by ident, without a reference.
    lock.call("acquire");
    recursive.call("acquire");
    semaphore.call("acquire");
    ready.call("set");
    std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(ready.call<bool>("wait", 60.0));
  EXPECT_EQ(manager_.number_of_objects(), before + 1);
  EXPECT_FALSE(lock.call<bool>("acquire", false));
  client.signal(SIGKILL);
  EXPECT_TRUE(lock.call<bool>("acquire", true, 30.0));
  EXPECT_TRUE(recursive.call<bool>("acquire", true, 30.0));
  EXPECT_TRUE(semaphore.call<bool>("acquire", true, 30.0));
  EXPECT_TRUE(test::eventually([&] { return manager_.number_of_objects() == before; }));
}

TEST_F(ManagerServerTest, AKilledClientThatWaitsTakesNothingFromOthers) {
  const Proxy queue = manager_.create("Queue");
  const Proxy ready = manager_.create("Event");
  for (int round = 0; round < 5; ++round) {
    test::Child client([&] {
      ready.call("set");
      (void)queue.call("get");
    });
    ASSERT_TRUE(ready.call<bool>("wait", 60.0));
    client.signal(SIGKILL);
    EXPECT_EQ(client.join(), -SIGKILL);
    queue.call("put", round);
    EXPECT_EQ(queue.call<int>("get", true, 30.0), round);
    ready.call("clear");
  }
}

// The server has a process of its own: the children are then not forked beside its threads, where the heap of GCC 12's
// address sanitizer may stay locked in them.
TEST(ManagerClientsTest, ManyAtOnceSomeKilled) {
  set_start_method(StartMethod::fork, Force::yes);
  SyncManager manager;
  manager.start();
  const Proxy list = manager.create("list");
  const Proxy lock = manager.create("Lock");
  std::vector<std::unique_ptr<test::Child>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<test::Child>([&, i] {
      for (int round = 0; round < 10; ++round) {
        lock.call("acquire");
        if (i % 4 == 0 && round == 5) ::raise(SIGKILL);  // holds it
        list.call("append", i);
        lock.call("release");
      }
    }));
  }
  int expected = 0;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(clients[static_cast<std::size_t>(i)]->join(60s), i % 4 == 0 ? -SIGKILL : 0);
    expected += i % 4 == 0 ? 5 : 10;
  }
  EXPECT_EQ(list.call<int>("__len__"), expected);
}

TEST_F(ManagerServerTest, WithoutTheKeyNobodyGetsIn) {
  BaseManager stranger({.address = serving_.server().address(), .authentication = test::manager_key("another")});
  EXPECT_EQ(test::thrown_code([&] { stranger.connect(); }), ErrorKind::authentication);
  EXPECT_NO_THROW((void)manager_.create("list"));
}

TEST(ManagerLimitTest, OfTooManyConnectionsTheNewestIsRefused) {
  ManagerServer server(ManagedTypes::standard(), {.authentication = test::manager_key(), .most_connections = 2});
  std::thread thread([&] { server.serve_forever(); });
  const auto connect = [&] { return Client(server.address(), {.authentication = test::manager_key()}); };
  std::vector<Connection> kept;
  for (int i = 0; i < 2; ++i) kept.push_back(connect());
  Connection third = connect();
  EXPECT_EQ(test::thrown_code([&] { (void)third.recv(); }), ErrorKind::end_of_stream);
  kept.clear();
  EXPECT_TRUE(test::eventually([&] {
    Connection another = connect();
    try {
      another.send(Object::tuple({Object(), "dummy", Object::tuple({}), Object::dict()}));
      return another.recv() == Object::tuple({"#RETURN", Object()});
    } catch (const Error&) {
      return false;
    }
  }));
  server.stop();
  thread.join();
}

}  // namespace
}  // namespace runrig
