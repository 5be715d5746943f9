// What a kernel may capture, and what is refused in words.

#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

using test::ArenaArray;
using test::slices;

class CapturesTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

TEST_F(CapturesTest, CapturedPointersIntoPrivateMemoryAreRefusedInWords) {
  Pool pool(1);
  std::vector<double> heap(1000);
  double* const heap_data = heap.data();
  const auto refused = [&](const auto& body) { return test::thrown_text([&] { (void)pool.launch(slices(1), body); }); };
  EXPECT_NE(refused([heap_data](SliceContext&) { *heap_data = 1; }).find("captures hold, at byte 0, a pointer"),
            std::string::npos);
  int local = 0;
  const std::string text = refused([&local](SliceContext&) { local = 1; });
  EXPECT_NE(text.find("[stack]"), std::string::npos) << text;
  static int global = 0;
  int* const global_pointer = &global;
  EXPECT_NE(refused([global_pointer](SliceContext&) { *global_pointer = 1; }), "");
  const std::uint64_t number = 7;
  EXPECT_NE(refused([number, heap_data](SliceContext&) { *heap_data = static_cast<double>(number); }).find("at byte 8"),
            std::string::npos);
}

TEST_F(CapturesTest, MemorySharedAfterTheForkIsRefusedAndBeforeIsNot) {
  const auto map = [] {
    return static_cast<std::atomic<int>*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  };
  std::atomic<int>* const before = map();
  Pool pool(1);
  pool.launch(slices(1), [before](SliceContext&) { *before = 1; }).get();
  EXPECT_EQ(before->load(), 1);
  std::atomic<int>* const after = map();
  const std::string text =
      test::thrown_text([&] { (void)pool.launch(slices(1), [after](SliceContext&) { *after = 1; }); });
  EXPECT_NE(text.find("mapped after the workers were made"), std::string::npos) << text;
  // Another mapping in the place of one that the workers have is no better.
  ASSERT_EQ(::mmap(before, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0), before);
  EXPECT_THROW((void)pool.launch(slices(1), [before](SliceContext&) { *before = 1; }), std::logic_error);
  ::munmap(before, 4096);
  ::munmap(after, 4096);
}

TEST_F(CapturesTest, NumbersConstantsAndFunctionsMayBeCaptured) {
  Pool pool(1);
  const ArenaArray<double> values(pool.arena(), 3);
  double* const out = values.data();
  const char* const text = "constant";
  const auto function = &std::strlen;
  // As pointers these would be: unmapped, too low, a double.
  const std::uint64_t odd = 0x0000'7123'4567'89abULL;
  const int small = 31'703'040;
  const double half = 0.5;
  pool.launch(slices(1),
              [=](SliceContext&) {
                out[0] = static_cast<double>(function(text));
                out[1] = half + small;
                out[2] = odd == 0x0000'7123'4567'89abULL ? 1 : 0;
              })
      .get();
  EXPECT_EQ(values[0], 8);
  EXPECT_EQ(values[1], 31'703'040.5);
  EXPECT_EQ(values[2], 1);
}

TEST_F(CapturesTest, WhatIsInPaddingIsNoPointer) {
  struct Body {
    std::uint32_t number;
    double another;
    void operator()(SliceContext&) const {
      if (another != 2) throw std::runtime_error("wrong capture");
    }
  };
  Pool pool(1);
  const auto thing = std::make_unique<int>(1);
  const auto address = reinterpret_cast<std::uintptr_t>(thing.get());
  Body body{static_cast<std::uint32_t>(address), 2};
  const auto rest = static_cast<std::uint32_t>(address >> 32U);
  std::memcpy(reinterpret_cast<std::byte*>(&body) + sizeof body.number, &rest, sizeof rest);  // a whole pointer now
  EXPECT_NO_THROW(pool.launch(slices(1), body).get());
}

TEST_F(CapturesTest, SharedLibrariesLoadedLaterDoNotDisturbKernelsThatWereThere) {
  Pool pool(1);
  const char* const text = "constant";
  const char* const library = "libthread_db.so.1";  // of the C library, and nothing of ours has a use for it
  ASSERT_EQ(::dlopen(library, RTLD_NOW | RTLD_NOLOAD), nullptr);
  void* const module = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  pool.launch(slices(1),
              [text](SliceContext&) {
                if (std::strlen(text) != 8) throw std::runtime_error("wrong constant");
              })
      .get();
  if (module != nullptr) {
    using Function = int (*)();
    const auto function = reinterpret_cast<Function>(::dlsym(module, "td_init"));
    const std::string why =
        test::thrown_text([&] { (void)pool.launch(slices(1), [function](SliceContext&) { (void)function(); }); });
    EXPECT_NE(why.find("pointer"), std::string::npos) << "a function that the workers do not have: " << why;
    ::dlclose(module);
  }
}

}  // namespace
}  // namespace runrig
