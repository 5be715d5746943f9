#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "../channel/python_peer.hpp"
#include "manager_support.hpp"

/// Managers with real Python at the other end: the example of a remote queue manager, in all combinations, and
/// SyncManager's objects.
namespace runrig {
namespace {

using pickle::Object;

std::string literal(const Address& address) {
  return address.family() == Address::Family::inet
             ? "('" + address.host() + "', " + std::to_string(address.port()) + ")"
             : "'" + address.path() + "'";
}

class ManagerPythonTest : public ::testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] Address address() const {
    return GetParam() ? Address("127.0.0.1", 0) : Address((folder_ / "socket").string());
  }

 private:
  test::TemporaryDirectory folder_;
};
INSTANTIATE_TEST_SUITE_P(Addresses, ManagerPythonTest, ::testing::Values(false, true),
                         [](const auto& tcp) { return tcp.param ? "Inet" : "Path"; });

TEST_P(ManagerPythonTest, RemoteQueue_PythonsClientsUseOurServer) {
  ManagedTypes types;
  ManagedTypes standard = ManagedTypes::standard();
  standard.share("get_queue", "Queue");
  types = standard;
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.managers") {
    test::Serving serving(types, address());
    const std::string connect =
        "from multiprocessing.managers import BaseManager\n"
        "class QueueManager(BaseManager): pass\n"
        "QueueManager.register('get_queue')\n"
        "m = QueueManager(address=" +
        literal(serving.server().address()) + ", authkey=b\"manager's key\")\nm.connect()\nqueue = m.get_queue()\n";
    const auto put =
        test::run_command({python, "-c", connect + "queue.put('hello'); queue.put({'a': [1, 2.5, None]})"});
    EXPECT_EQ(put.exit_code, 0) << put.err;
    const auto got =
        test::run_command({python, "-c",
                           connect + "print(queue.get(), queue.get(timeout=5), queue.qsize())\nimport queue as q\n"
                                     "try: queue.get(block=False)\nexcept q.Empty: print('empty')"});
    EXPECT_EQ(got.out, "hello {'a': [1, 2.5, None]} 0\nempty\n") << got.err;
    BaseManager ours = serving.client();
    ours.create("get_queue").call("put", 5);
    EXPECT_EQ(ours.create("get_queue").call<int>("get"), 5);
  }
}

TEST_P(ManagerPythonTest, RemoteQueue_OurClientUsesPythonsServer) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.managers") {
    test::PythonPeer peer(python, R"(
from multiprocessing.managers import BaseManager
import queue, threading
q = queue.Queue()
class QueueManager(BaseManager): pass
QueueManager.register('get_queue', callable=lambda: q)
m = QueueManager(address=)" + literal(address()) +
                                      R"(, authkey=b"manager's key")
s = m.get_server()
c.send(s.address)
def end():
  try: c.recv()
  except EOFError: pass
  s.stop_event.set()
threading.Thread(target=end, daemon=True).start()
try: s.serve_forever()
except SystemExit: pass
)");
    const Address at = Address::from_object(peer.connection().recv());
    BaseManager manager({.address = at, .authentication = test::manager_key()});
    manager.connect();
    const Proxy queue = manager.create("get_queue");
    queue.call("put", Object::list({1, "two", 3.0}));
    EXPECT_EQ(queue.call("get"), Object::list({1, "two", 3.0}));
    EXPECT_THROW(queue.call("get", false), Empty);
    EXPECT_EQ(test::python_error([&] { queue.call("get", 1, 2, 3, 4); }), "TypeError");
    EXPECT_EQ(manager.number_of_objects(), 1U);
  }
}

// Each line is a test of its own in Python's words.
TEST_P(ManagerPythonTest, SyncManager_PythonUsesEachTypeOfOurs) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.managers") {
    test::Serving serving(ManagedTypes::standard(), address());
    const auto result = test::run_command({python, "-c",
                                           R"(
import sys, threading, queue
from multiprocessing.managers import SyncManager
m = SyncManager(address=)" + literal(serving.server().address()) +
                                               R"(, authkey=b"manager's key")
m.connect()
l = m.list([3, 1, 2]); l.append(9); l.extend([4]); l += [5]; l.sort()
assert l[:0] == [] and l[1:3] == [2, 3] and l[::-2] == [9, 4, 2] and list(reversed(l)) == l[::-1]
assert list(l._getvalue()) == [1, 2, 3, 4, 5, 9] and len(l) == 6 and l[-1] == 9 and 4 in l
assert l.pop() == 9 and l.index(3) == 2 and l.count(7) == 0 and str(l) == '[1, 2, 3, 4, 5]'
l[0] = 'x'; del l[1]; l.reverse(); l.insert(0, None); l.remove('x')
assert l._getvalue() == [None, 5, 4, 3]
try: l[10]
except IndexError: pass
else: sys.exit('no IndexError')
d = m.dict({'a': 1}, b=2); d[3] = (4, 5); d.update({'a': 7}); d.update(c=8)
assert d.copy() == {'a': 7, 'b': 2, 3: (4, 5), 'c': 8} and d.get('zz') is None and d.get('zz', 1) == 1
assert d.pop('b') == 2 and 'b' not in d and len(d) == 3 and sorted(map(str, d.keys())) == ['3', 'a', 'c']
assert d.items() == [('a', 7), (3, (4, 5)), ('c', 8)] and d.values() == [7, (4, 5), 8] and d.setdefault('n', 1) == 1
try: d['zz']
except KeyError as e: assert e.args == ('zz',)
else: sys.exit('no KeyError')
assert list(d) == list(d.keys()) and [k for k in d] == d.keys()
l2 = m.list([0, 1, 2, 3, 4]); l2[1:3] = ['x', 'y', 'z']; del l2[::2]
assert l2[:] == ['x', 'z', 4], l2[:]
n = m.Namespace(); n.x = 10; n.y = 'hello'; assert n.x == 10 and n.y == 'hello'; del n.y
try: n.y
except AttributeError: pass
else: sys.exit('no AttributeError')
n2 = m.Namespace(z=5); assert n2.z == 5
v = m.Value('i', 5); v.value = 6; assert v.value == 6 and v.get() == 6
a = m.Array('i', [1, 2, 3]); a[1] = 20; assert len(a) == 3 and a[1] == 20 and list(a[i] for i in range(3)) == [1, 20, 3]
q = m.Queue(2); q.put(1); q.put(2, timeout=5); assert q.full() and q.qsize() == 2
try: q.put(3, block=False)
except queue.Full: pass
else: sys.exit('no Full')
assert q.get() == 1 and q.get_nowait() == 2 and q.empty()
j = m.JoinableQueue(); j.put('x'); assert j.get() == 'x'; j.task_done(); j.join()
k = m.Lock(); assert k.acquire() and not k.acquire(False); k.release()
with k: assert not k.acquire(blocking=False)
r = m.RLock()
with r:
  with r: pass
try: r.release()
except RuntimeError: pass
else: sys.exit('no RuntimeError')
s = m.BoundedSemaphore(1); assert s.acquire(); assert not s.acquire(True, 0.01); s.release()
try: s.release()
except ValueError: pass
else: sys.exit('no ValueError')
e = m.Event(); assert not e.is_set() and not e.wait(0.01); e.set(); assert e.wait() and e.is_set(); e.clear()
cv = m.Condition(); done = []
def waiter():
  with cv:
    cv.wait_for(lambda: done, 30)
t = threading.Thread(target=waiter); t.start()
with cv: done.append(1); cv.notify_all()
t.join(30); assert not t.is_alive()
k2 = m.Lock(); cv2 = m.Condition(k2)
with cv2: assert not k2.acquire(False) and not cv2.wait(0.01)
with m.Condition(m.RLock()) as _: pass
import multiprocessing, os
multiprocessing.current_process().authkey = b"manager's key"
outer = m.list(); inner = m.list([1]); outer.append(inner); inner.append(2); del inner
assert outer[0][1] == 2 and type(outer[0]).__name__ == 'ListProxy' and len(outer) == 1
outer[0].append(3); assert outer[0]._getvalue() == [1, 2, 3]
taken = outer.pop(); assert taken[0] == 1 and len(outer) == 0
table = m.dict(); table['q'] = m.Queue(); table['q'].put('through'); assert table['q'].get() == 'through'
table['l'] = m.Lock(); assert table['l'].acquire(); table['l'].release()
def work(shared, lock):
  with lock: shared.append(os.getpid())
shared = m.list(); child = multiprocessing.get_context('fork').Process(target=work, args=(shared, k)); child.start(); child.join()
assert child.exitcode == 0 and list(shared) == [child.pid]
del outer, taken, table
b = m.Barrier(2); got = []
t = threading.Thread(target=lambda: got.append(b.wait())); t.start(); got.append(b.wait()); t.join(30)
assert sorted(got) == [0, 1] and b.parties == 2 and b.n_waiting == 0 and not b.broken
try: b.wait(0.01)
except threading.BrokenBarrierError: pass
else: sys.exit('no BrokenBarrierError')
assert b.broken; b.reset(); assert not b.broken
assert m._number_of_objects() >= 10 and 'refcount' in m._debug_info()
print('all of it')
)"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out, "all of it\n");
    if (!GetParam()) {
      EXPECT_TRUE(test::eventually([&] { return serving.server().number_of_objects() == 0; }))
          << "the program's references are gone with it";
    }
  }
}

TEST_P(ManagerPythonTest, SyncManager_WeUseEachTypeOfPythons) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.managers") {
    test::PythonPeer peer(python, R"(
from multiprocessing.managers import SyncManager
if __name__ == '__main__':
  m = SyncManager(address=)" + literal(address()) +
                                      R"(, authkey=b"manager's key")
  m.start()
  c.send(m.address)
  try: c.recv()
  except EOFError: pass
  m.shutdown()
)");
    const Address at = Address::from_object(peer.connection().recv());
    BaseManager manager({.address = at, .authentication = test::manager_key()});
    manager.connect();
    const Proxy list = manager.create("list", std::vector{1, 2});
    list.call("append", std::string("three"));
    EXPECT_EQ(list.str(), "[1, 2, 'three']");
    const Proxy dict = manager.create("dict");
    dict.call("__setitem__", std::string("k"), 5);
    EXPECT_EQ(dict.call<int>("get", std::string("k")), 5);
    EXPECT_EQ(test::python_error([&] { dict.call("__getitem__", std::string("zz")); }), "KeyError");
    const Proxy lock = manager.create("Lock");
    EXPECT_TRUE(lock.call<bool>("acquire"));
    EXPECT_FALSE(lock.call<bool>("acquire", false));
    lock.call("release");
    const Proxy queue = manager.create("Queue", 1);
    queue.call("put", 1);
    EXPECT_THROW(queue.call("put", 1, false), Full);
    const Proxy barrier = manager.create("Barrier", 2);
    EXPECT_THROW(barrier.call("wait", 0.01), BrokenBarrier);
    const auto keys =
        manager.create<DictProxy<std::string, int>>("dict", std::map<std::string, int>{{"a", 1}}).iterate();
    EXPECT_EQ(keys.next(), "a");
    EXPECT_EQ(keys.next(), std::nullopt);
    const auto outer = manager.create<ListProxy<ListProxy<int>>>("list");
    {
      const auto inner = manager.create<ListProxy<int>>("list", std::vector{1, 2, 3});
      outer.append(inner);
      inner.append(4);
    }
    EXPECT_EQ(outer[0].copy(), (std::vector{1, 2, 3, 4}));
    EXPECT_EQ((outer[0][pickle::Slice{1, 3}]), (std::vector{2, 3}));
  }
}

TEST(ManagerPythonKillTest, AKilledPythonClientGivesBackItsLocksAndReferences) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.managers") {
    test::Serving serving;
    BaseManager manager = serving.client();
    const std::size_t before = manager.number_of_objects();
    {
      test::PythonPeer peer(python, R"(
import time
from multiprocessing.managers import SyncManager
m = SyncManager(address=)" + literal(serving.server().address()) +
                                        R"(, authkey=b"manager's key")
m.connect()
d = m.dict(); k = m.Lock(); k.acquire()
c.send('holding')
time.sleep(60)
)");
      EXPECT_EQ(peer.connection().recv<std::string>(), "holding");
      EXPECT_EQ(manager.number_of_objects(), before + 2);
      peer.process().signal(SIGKILL);
      peer.expected_exit = -SIGKILL;
    }
    EXPECT_TRUE(test::eventually([&] { return manager.number_of_objects() == before; }));
  }
}

}  // namespace
}  // namespace runrig
