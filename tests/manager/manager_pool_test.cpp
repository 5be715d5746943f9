#include "runrig/engine/managed_pool.hpp"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "../channel/python_peer.hpp"
#include "manager_support.hpp"
#include "runrig/sync/error.hpp"

/// The pool of a manager, which runs functions by their names.
namespace runrig {
namespace {

using namespace std::chrono_literals;
using pickle::Object;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

int offset = 0;
int square(int x) { return x * x; }
int plus(int a, int b) { return a + b + offset; }
void set_offset(int value) { offset = value; }
std::string shout(const std::string& text) { return text + "!"; }
int fail(int x) {
  if (x == 3) throw std::out_of_range("three");
  return x;
}
int nap(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return milliseconds;
}
void note(const ListProxy<int>& list, int value) { list.append(value); }

ManagedTypes with_functions() {
  ManagedTypes types = ManagedTypes::standard();
  types.function<&square>("square");
  types.function<&plus>("plus");
  types.function<&set_offset>("set_offset");
  types.function<&shout>("shout");
  types.function<&fail>("fail");
  types.function<&nap>("nap");
  types.function<&note>("note");
  return types;
}

class ManagedPoolTest : public ::testing::Test {
 protected:
  test::Serving serving_{with_functions()};
  SyncManager manager_ = [this] {
    SyncManager manager({.address = serving_.server().address(), .authentication = test::manager_key()});
    manager.connect();
    return manager;
  }();
};

TEST_F(ManagedPoolTest, Pool_RunsFunctionsByTheirNames) {
  const PoolProxy pool = manager_.Pool(2);
  EXPECT_EQ(pool.apply<int>("square", 7), 49);
  EXPECT_EQ(pool.apply<std::string>("shout", std::string("hey")), "hey!");
  EXPECT_TRUE(pool.apply("set_offset", 0).is_none());
  EXPECT_THAT(pool.map<int>("square", std::vector{1, 2, 3, 4}), ElementsAre(1, 4, 9, 16));
  EXPECT_THAT(pool.starmap<int>("plus", std::vector<std::pair<int, int>>{{1, 2}, {3, 4}}), ElementsAre(3, 7));
  const auto later = pool.apply_async<int>("square", 9);
  later.wait(60s);
  EXPECT_TRUE(later.ready());
  EXPECT_TRUE(later.successful());
  EXPECT_EQ(later.get(), 81);
  EXPECT_THAT(pool.map_async<int>("square", std::vector{5, 6}).get(60s), ElementsAre(25, 36));
  const auto lazily = pool.imap<int>("square", std::vector{1, 2, 3});
  EXPECT_EQ(lazily.next(), 1);
  EXPECT_EQ(lazily.next(60s), 4);
  EXPECT_EQ(lazily.next(), 9);
  EXPECT_EQ(lazily.next(), std::nullopt);
  const auto unordered = pool.imap_unordered<int>("square", std::vector{1, 2, 3});
  std::vector<int> found;
  while (const auto each = unordered.next()) found.push_back(*each);
  EXPECT_THAT(found, UnorderedElementsAre(1, 4, 9));
  // A worker's argument may be an object of the manager.
  const auto list = manager_.list<int>();
  (void)pool.apply("note", list, 5);
  EXPECT_THAT(list.copy(), ElementsAre(5));
  pool.close();
  EXPECT_EQ(test::python_error([&] { (void)pool.apply("square", 1); }), "ValueError");
  pool.join();
}

TEST_F(ManagedPoolTest, Pool_TellsWhatWentWrong) {
  const PoolProxy pool = manager_.Pool(1);
  EXPECT_EQ(test::python_error([&] { (void)pool.apply("no such", 1); }), "KeyError");
  EXPECT_EQ(test::python_error([&] { (void)pool.call("apply", 5); }), "TypeError");
  EXPECT_EQ(test::python_error([&] { (void)pool.apply("square", std::string("x")); }), "TypeError");
  EXPECT_EQ(test::python_error([&] { (void)pool.apply("square"); }), "TypeError");
  EXPECT_EQ(test::python_error([&] { (void)pool.map("fail", std::vector{1, 2, 3}); }), "IndexError");
  const auto lazily = pool.imap<int>("fail", std::vector{2, 3, 4});
  EXPECT_EQ(lazily.next(), 2);
  EXPECT_EQ(test::python_error([&] { (void)lazily.next(); }), "IndexError");
  EXPECT_EQ(lazily.next(), 4) << "the others go on";
  const auto failing = pool.apply_async<int>("fail", 3);
  failing.wait();
  EXPECT_FALSE(failing.successful());
  EXPECT_EQ(test::python_error([&] { (void)failing.get(); }), "IndexError");
  const auto slow = pool.apply_async<int>("nap", 300);
  EXPECT_EQ(test::python_error([&] { (void)slow.get(0.001s); }), "multiprocessing.context.TimeoutError");
  EXPECT_EQ(test::python_error([&] { (void)slow.successful(); }), "ValueError");
  EXPECT_EQ(slow.get(), 300);
  EXPECT_EQ(test::python_error([&] { pool.join(); }), "ValueError") << "it is not closed";
  EXPECT_EQ(test::python_error([&] { (void)manager_.create("Pool", -1); }).empty(), false);
  pool.terminate();
}

TEST_F(ManagedPoolTest, Pool_InitializerIsAFunctionOfTheServers) {
  const PoolProxy pool(manager_.create("Pool", 1, std::string("set_offset"), std::vector{100}, 2));
  EXPECT_EQ(pool.apply<int>("plus", 1, 2), 103);
  EXPECT_EQ(pool.apply<int>("plus", 1, 2), 103);
  EXPECT_EQ(pool.apply<int>("plus", 1, 2), 103) << "the worker that follows was initialised, too";
}

TEST(ManagedPoolEndTest, Join_DoesNotKeepAServerFromStopping) {
  const auto begin = std::chrono::steady_clock::now();
  {
    test::Serving serving(with_functions());
    SyncManager manager({.address = serving.server().address(), .authentication = test::manager_key()});
    manager.connect();
    const PoolProxy pool = manager.Pool(1);
    const auto slow = pool.apply_async<int>("nap", 100'000);
    std::thread waiter([&] {
      EXPECT_THROW(
          {
            pool.close();
            pool.join();
          },
          Error);
    });
    std::this_thread::sleep_for(500ms);  // so that join() is under way, mostly; it holds before, too
    serving.server().stop();
    waiter.join();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);
}

TEST_F(ManagedPoolTest, Pool_GoesWithItsLastProxy) {
  { const PoolProxy pool = manager_.Pool(1); }
  EXPECT_EQ(manager_.number_of_objects(), 0U);
}

TEST(ManagedPoolProcessTest, Pool_OfAManagersProcess) {
  SyncManagerOf<with_functions> manager;
  manager.start();
  EXPECT_THAT(manager.Pool(2).map<int>("square", std::vector{2, 3}), ElementsAre(4, 9));
}

TEST_F(ManagedPoolTest, Pool_IsUsedByPython) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.managers") {
    const auto result = test::run_command({python, "-c",
                                           R"(
import sys, multiprocessing
from multiprocessing.managers import SyncManager, RemoteError
m = SyncManager(address=')" + serving_.server().address().path() +
                                               R"(', authkey=b"manager's key")
m.connect()
p = m.Pool(2)
assert p.map('square', [1, 2, 3]) == [1, 4, 9] and p.apply('plus', (1, 2)) == 3
assert p.starmap('plus', [(1, 2), (3, 4)]) == [3, 7] and list(p.imap('square', range(4))) == [0, 1, 4, 9]
r = p.apply_async('square', (5,)); assert r.get(timeout=60) == 25 and r.ready() and r.successful()
assert sorted(p.imap_unordered('square', [1, 2])) == [1, 4] and p.map_async('shout', ['a']).get() == ['a!']
try: p.map('fail', [1, 2, 3])
except IndexError as e: assert 'three' in str(e)
else: sys.exit('no IndexError')
s = p.apply_async('nap', (200,))
try: s.get(0.001)
except multiprocessing.TimeoutError: pass
else: sys.exit('no TimeoutError')
assert s.get() == 200
def own(x): return x
try: p.apply(own, (1,))
except RemoteError as e: assert '__main__ own' in str(e), e
else: sys.exit('a function was taken')
assert p.apply('square', (4,)) == 16
p.close(); p.join()
print('all of it')
)"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out, "all of it\n");
  }
}

}  // namespace
}  // namespace runrig
