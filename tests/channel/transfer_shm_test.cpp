#include "runrig/channel/transfer_shm.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "runrig/channel/transfer.hpp"
#include "runrig/shm/shareable_list.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/shm/value.hpp"
#include "runrig/sync/barrier.hpp"
#include "runrig/sync/condition.hpp"
#include "runrig/sync/event.hpp"
#include "runrig/sync/semaphore.hpp"
#include "support.hpp"
#include "transfer_support.hpp"

namespace runrig {
namespace {

using pickle::test_samples::encoded;

/// What `body` is given has crossed into another process.
template <class T>
void expect_in_child(const T& value, const std::function<void(Received<T>)>& body) {
  const auto bytes = encoded(value);
  EXPECT_EQ(test::run_in_child([&] { body(pickle::decode<T>(bytes)); }), 0);
}

TEST(TransferShmTest, ValuesLeadToTheSameMemory) {
  const Value<int> value(1);
  const RawValue<double> raw(1.5);
  const Shared<Lock> lock;
  expect_in_child(std::tuple(value, raw), [](const std::tuple<Value<int>, RawValue<double>>& all) {
    std::get<0>(all) = 7;
    std::get<1>(all) = 2.5;
  });
  EXPECT_EQ(value.get(), 7);
  EXPECT_EQ(raw.value(), 2.5);
  lock->lock();
  expect_in_child(lock, [](const Shared<Lock>& there) { EXPECT_FALSE(there->try_lock()); });
  lock->unlock();
}

TEST(TransferShmTest, EveryPrimitiveTravels) {
  const Shared<Lock> lock;
  const Shared<RLock> recursive;
  const Shared<Semaphore> semaphore(std::in_place, 1);
  const Shared<BoundedSemaphore> bounded(std::in_place, 1);
  const Shared<Event> event;
  const Shared<Condition<Lock>> condition;
  const Shared<Barrier> barrier(std::in_place, 1);
  const auto all = std::tuple(lock, recursive, semaphore, bounded, event, condition, barrier);
  expect_in_child(all, [](const std::remove_const_t<decltype(all)>& there) {
    EXPECT_TRUE(std::get<0>(there)->try_lock());
    std::get<0>(there)->unlock();
    EXPECT_TRUE(std::get<1>(there)->try_lock());
    std::get<1>(there)->unlock();
    std::get<2>(there)->acquire();
    std::get<3>(there)->acquire();
    std::get<4>(there)->set();
    const std::lock_guard guard(*std::get<5>(there));
    std::get<5>(there)->notify_all();
    EXPECT_EQ(std::get<6>(there)->wait(), 0);
  });
  EXPECT_EQ(semaphore->get_value(), 0);
  EXPECT_EQ(bounded->get_value(), 0);
  EXPECT_TRUE(event->is_set());
}

TEST(TransferShmTest, SegmentsAndListsTravelAlsoAfterUnlink) {
  auto memory = SharedMemory::create(4096);
  auto list = ShareableList::create({1, "two", 3.5});
  memory.unlink();
  expect_in_child(memory, [](const SharedMemory& there) { there.writable_bytes()[7] = std::byte{9}; });
  expect_in_child(list, [](ShareableList there) { there[1] = "2"; });
  EXPECT_EQ(memory.bytes()[7], std::byte{9});
  EXPECT_EQ(list.get<std::string>(1), "2");
  list.unlink();
}

TEST(TransferShmTest, ArraysLeadToTheSameMemory) {
  const Array<int> array{1, 2, 3};
  const RawArray<std::uint8_t> raw(4);
  expect_in_child(array, [](const Array<int>& there) {
    EXPECT_EQ(there.size(), 3U);
    there.set(1, 20);
  });
  expect_in_child(raw, [](const RawArray<std::uint8_t>& there) { there[3] = 9; });
  EXPECT_EQ(array.get(1), 20);
  EXPECT_EQ(raw[3], 9);
}

TEST(TransferShmTest, NdArraysLeadToTheSameMemory) {
  auto array = NdArray<float>::create_anonymous({2, 3});
  expect_in_child(array, [](NdArray<float> there) { there(1, 2) = 4.5F; });
  EXPECT_EQ(array(1, 2), 4.5F);
  expect_in_child(array.any(), [](const AnyArray& there) { EXPECT_EQ(there.dtype(), DType::float32); });
}

TEST(TransferShmTest, SubViewsArriveWithTheirStridesAndTheirMapping) {
  auto array = NdArray<int>::create_anonymous({4, 6});
  const NdView<int> view = array.slice(0, {.start = 1}).slice(1, {.step = -2});
  static_assert(std::is_same_v<Received<NdView<int>>, OwnedView<int>>);
  expect_in_child(view, [](OwnedView<int> there) {
    ASSERT_EQ(there.shape(), (Shape{3, 3}));
    EXPECT_FALSE(there.contiguous());
    const OwnedView<int> moved = std::move(there);
    const NdView<int> plain = moved;
    plain(0, 0) = 11;
    plain(2, 1) = 12;
  });
  EXPECT_EQ(array(1, 5), 11);
  EXPECT_EQ(array(3, 3), 12);
}

TEST(TransferShmTest, AConstViewArrivesReadOnly) {
  auto array = NdArray<int>::create_anonymous({3});
  array(2) = 5;
  expect_in_child(array.cview(), [](const OwnedView<const int>& there) {
    EXPECT_EQ(there(2), 5);
    EXPECT_EQ(there.array().access(), Access::read_only);
  });
  expect_in_child(array.ref(), [](const AnyArray& there) { EXPECT_EQ(there.view<int>()(2), 5); });
}

TEST(TransferShmTest, HandlesTravelInStructsAndContainers) {
  struct Job {
    NdArray<double> data;  // neither copied nor made from nothing
    std::string name;
    std::vector<Value<int>> counters;
  };
  const Job job{NdArray<double>::create_anonymous({8}), "job", {Value<int>(1), Value<int>(2)}};
  expect_in_child(job, [](Job there) {
    EXPECT_EQ(there.name, "job");
    there.data(7) = 1;
    there.counters.at(1) = 20;
  });
  EXPECT_EQ(job.data(7), 1);
  EXPECT_EQ(job.counters[1].get(), 20);
}

TEST(TransferShmTest, ALocalViewCannotTravel) {
  std::array<int, 4> local{};
  const NdView<int> view(local.data(), {4});
  EXPECT_THROW(encoded(view), std::logic_error);
}

// Pitfall W5: names in messages lead nowhere but to segments, whatever else is right about them.
TEST(TransferShmTest, NamesThatLeadElsewhereAreRefused) {
  const test::TemporaryDirectory folder;
  const auto file = folder / "secret";
  std::ofstream(file) << std::string(4096, 's');
  const std::string link = test::unique_segment_name();
  std::filesystem::create_symlink(file, "/dev/shm/" + link);
  struct stat there {};
  ASSERT_EQ(::stat(file.c_str(), &there), 0);
  SegmentHandle handle;
  handle.id = {there.st_dev, there.st_ino};
  handle.size_bytes = 4096;
  for (const std::string& name : {"../.." + file.string(), file.string(), "/" + file.string(), "../shm/" + link, link,
                                  std::string(".."), std::string(207, '/'), std::string(208, 'x')}) {
    handle.name.fill('\0');
    std::copy(name.begin(), name.end(), handle.name.begin());
    std::vector<std::byte> bytes;
    pickle::encode(bytes, std::as_bytes(std::span(&handle, 1)));
    EXPECT_THROW((void)pickle::decode<SharedMemory>(bytes), Error) << name;
  }
  std::filesystem::remove("/dev/shm/" + link);
}

TEST(TransferShmTest, AnEmptyOrForeignHandleIsRefused) {
  EXPECT_THROW((void)pickle::decode<Value<int>>(encoded(std::vector<std::byte>(sizeof(LockedHandle)))), Error);
  EXPECT_THROW((void)pickle::decode<NdArray<int>>(encoded(std::vector<std::byte>(sizeof(ArrayHandle)))), Error);
  EXPECT_THROW((void)pickle::decode<Value<int>>(encoded(std::vector<std::byte>(7))), FormatError);
  // Of the right form, but not what is expected there.
  const RawValue<int> small(1);
  EXPECT_THROW((void)pickle::decode<RawValue<double>>(encoded(small)), std::logic_error);
  const auto array = NdArray<int>::create_anonymous({3});
  EXPECT_THROW((void)pickle::decode<NdView<double>>(encoded(array.cview())), FormatError);
  ArrayHandle handle = array.handle();
  handle.dtype = static_cast<DType>(200);
  std::vector<std::byte> broken;
  pickle::encode(broken, std::as_bytes(std::span(&handle, 1)));
  EXPECT_THROW((void)pickle::decode<NdView<int>>(broken), Error);
  handle.dtype = DType::int32;
  handle.shape[0] = 1'000'000;
  broken.clear();
  pickle::encode(broken, std::as_bytes(std::span(&handle, 1)));
  EXPECT_THROW((void)pickle::decode<NdView<int>>(broken), Error);
}

}  // namespace
}  // namespace runrig
