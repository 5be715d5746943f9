#include "runrig/shm/nd_array.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "runrig/shm/complex.hpp"
#include "runrig/shm/npy.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class NdArrayTest : public ::testing::Test {
 protected:
  ~NdArrayTest() override {
    std::error_code ignored;  // most tests have unlinked it
    std::filesystem::remove_all(path_, ignored);
  }
  // Puts bytes under the name as another program would.
  void plant(const std::string& bytes) const {
    const UniqueFd file(::open(path_.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
    ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  [[nodiscard]] std::string planted() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] std::error_code refusal() const {
    return test::thrown_code([this] { (void)NdArray<float>::attach(name_); });
  }
  [[nodiscard]] std::string complaint() const {
    return test::thrown_text([this] { (void)NdArray<float>::attach(name_); });
  }

  const std::string name_ = test::unique_segment_name();
  const std::filesystem::path path_ = "/dev/shm/" + name_;
};

TEST_F(NdArrayTest, WhatOneProcessWritesAnotherReadsUnderTheSameName) {
  auto array = NdArray<float>::create(name_, Shape{3, 4});
  EXPECT_EQ(array.name(), name_);
  EXPECT_EQ(array.size(), 12U);
  EXPECT_THAT(array.cspan(), ::testing::Each(0.0F));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % 4096, 0U) << "data begins on a page";
  array(2, 3) = 1.5F;
  EXPECT_EQ(test::run_in_child([&] {
              auto other = NdArray<float>::attach(name_);
              EXPECT_EQ(other.shape(), (Shape{3, 4}));
              EXPECT_EQ(other(2, 3), 1.5F);
              other.rows(0, 1)(0, 1) = 2.5F;
            }),
            0);
  EXPECT_EQ(array.span()[1], 2.5F);
  array.unlink();
  EXPECT_EQ(array(0, 1), 2.5F) << "the mapping outlives the name";
  EXPECT_EQ(refusal(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(test::thrown_code([&] { array.unlink(); }), std::errc::no_such_file_or_directory);
}

TEST_F(NdArrayTest, NamesOfItsOwnMakingDiffer) {
  auto first = NdArray<int>::create(Shape{2});
  auto second = NdArray<int>::create(Shape{2});
  EXPECT_NE(first.name(), second.name());
  EXPECT_NO_THROW((void)NdArray<int>::attach(first.name()));
  first.unlink();
  second.unlink();
}

TEST_F(NdArrayTest, AFailedCreateLeavesTheOtherArrayAlone) {
  auto array = NdArray<float>::create(name_, Shape{1});
  array(0) = 7;
  EXPECT_EQ(test::thrown_code([&] { (void)NdArray<float>::create(name_, Shape{2}); }), std::errc::file_exists);
  EXPECT_EQ(NdArray<float>::attach(name_)(0), 7.0F);
  for (const Shape& shape : {Shape{1ULL << 32, 1ULL << 32}, Shape{1ULL << 61}, Shape{(1ULL << 61) - 1}}) {
    const auto name = test::unique_segment_name();
    EXPECT_TRUE(test::thrown_code([&] { (void)NdArray<float>::create(name, shape); }));
    EXPECT_FALSE(std::filesystem::exists("/dev/shm/" + name));
  }
  array.unlink();
}

TEST_F(NdArrayTest, ReadOnlyIsReadOnly) {
  auto array = NdArray<float>::create(name_, Shape{2});
  auto reader = NdArray<float>::attach(name_, Access::read_only);
  array(1) = 3;
  EXPECT_EQ(std::as_const(reader)(1), 3.0F);
  EXPECT_THAT(reader.cspan(), ElementsAre(0, 3));
  EXPECT_THROW((void)reader.data(), std::logic_error);
  EXPECT_THROW((void)reader.span(), std::logic_error);
  EXPECT_THROW((void)reader(1), std::logic_error);
  EXPECT_THROW((void)reader.view(), std::logic_error);
  array.unlink();
}

TEST_F(NdArrayTest, AnonymousArraysAndViewsTravelByHandle) {
  auto array = NdArray<std::int32_t>::create_anonymous(Shape{4, 6});
  std::iota(array.span().begin(), array.span().end(), 0);
  EXPECT_EQ(array.name(), "");
  EXPECT_THROW(array.unlink(), std::logic_error);
  const ArrayHandle part = array.slice(1, {{}, {}, -2}).rows(1, 2).handle();
  static_assert(std::is_trivially_copyable_v<ArrayHandle>);
  EXPECT_EQ(test::run_in_child([&] {
              const auto other = AnyArray::attach(part);
              const auto view = other.view<std::int32_t>();
              EXPECT_EQ(view.shape(), (Shape{2, 3}));
              EXPECT_EQ(view(0, 0), 11);
              EXPECT_EQ(view(1, 2), 13);
              view(1, 2) = -1;
              EXPECT_EQ(NdArray<std::int32_t>::attach(array.handle())(2, 1), -1);
              EXPECT_EQ(test::thrown_code([&] { (void)NdArray<std::int32_t>::attach(part); }), ErrorKind::format)
                  << "it has gaps";
            }),
            0);
  EXPECT_EQ(array(2, 1), -1);
  EXPECT_EQ(test::thrown_code([] { (void)AnyArray::attach(ArrayHandle{}); }), std::errc::invalid_argument);
  ArrayHandle broken = part;
  broken.shape[0] = 1000;
  EXPECT_EQ(test::thrown_code([&] { (void)AnyArray::attach(broken); }), std::errc::invalid_argument);
}

TEST_F(NdArrayTest, ArraysOfEachKindGoIntoHugePages) {
  const Shape shape{3, 1 << 17};  // 3 MiB: one huge page as a whole, and parts of another
  auto named = NdArray<double>::create(shape);
  auto anonymous = NdArray<double>::create_anonymous(shape);
  auto by_name = NdArray<double>::attach(named.name());
  auto by_handle = NdArray<double>::attach(anonymous.handle());
  named(2, 5) = 2.5;
  anonymous(1, 7) = 1.5;
  for (auto* const each : {&named, &anonymous, &by_name, &by_handle})
    EXPECT_LE(each->use_huge_pages(), huge_page_bytes);
  EXPECT_EQ(by_name(2, 5), 2.5);
  EXPECT_EQ(by_handle(1, 7), 1.5);
  auto reader = NdArray<double>::attach(named.name(), Access::read_only);
  EXPECT_THROW(reader.use_huge_pages(), std::logic_error);
  named.unlink();
}

TEST_F(NdArrayTest, AForkedChildsHandleOutlivesItsParent) {
  // The grandchild gets the child's handle; that of the first process would do as well as long as it lives.
  auto array = NdArray<int>::create_anonymous(Shape{1});
  EXPECT_EQ(test::run_in_child([&] {
              const ArrayHandle handle = array.handle();
              EXPECT_EQ(handle.segment.pid, ::getpid());
              EXPECT_EQ(test::run_in_child([&] { NdArray<int>::attach(handle)(0) = 5; }), 0);
            }),
            0);
  EXPECT_EQ(array(0), 5);
}

TEST_F(NdArrayTest, SoDoesTheHandleOfAPartThatAForkedChildMakes) {
  auto array = NdArray<int>::create_anonymous(Shape{3, 4});
  std::iota(array.span().begin(), array.span().end(), 0);
  EXPECT_EQ(test::run_in_child([&] {
              const ArrayHandle part = array.slice(0, {{}, {}, -1}).select(1, 2).handle();
              EXPECT_EQ(part.segment.pid, ::getpid());
              EXPECT_EQ(test::run_in_child([&] {
                          const auto other = AnyArray::attach(part);
                          const auto view = other.view<int>();
                          EXPECT_EQ(view.shape(), Shape{3});
                          EXPECT_EQ(view(0), 10);
                          view(2) = -2;
                        }),
                        0);
            }),
            0);
  EXPECT_EQ(array(0, 2), -2);
  // A process that has closed the descriptor can only point to its parent.
  EXPECT_EQ(test::run_in_child([&] {
              ::close(array.handle().segment.fd);
              EXPECT_EQ(array.rows(1, 1).handle().segment.pid, ::getppid());
            }),
            0);
}

class NdArrayShapeTest : public NdArrayTest, public ::testing::WithParamInterface<Shape> {};

TEST_P(NdArrayShapeTest, IsMadeAttachedAndOpenedByNumPy) {
  auto array = NdArray<double>::create(name_, GetParam());
  EXPECT_EQ(array.size(), GetParam().elements());
  auto other = NdArray<double>::attach(name_);
  EXPECT_EQ(other.shape(), GetParam());
  for (double& each : array.span()) each = 2;
  EXPECT_THAT(other.cspan(), ::testing::Each(2.0));
  RUNRIG_NEED_PYTHON(python, "numpy");
  const auto result = test::run_python(python, R"(
import numpy as np, sys
a = np.load(sys.argv[1], mmap_mode='r+')
assert a.shape == eval(sys.argv[2]) and a.dtype == np.float64, (a.shape, a.dtype)
a[...] += 1
)",
                                       {path_.string(), to_string(GetParam())});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(array.cspan(), ::testing::Each(3.0));
  array.unlink();
}

INSTANTIATE_TEST_SUITE_P(Shapes, NdArrayShapeTest,
                         ::testing::Values(Shape{}, Shape{0}, Shape{0, 3}, Shape{5, 0, 1ULL << 40}, Shape{1},
                                           Shape{513}, Shape{7, 13}, Shape{1, 1, 1, 5}));

/// An element as a number; of a complex one the real part, if that is all of it.
template <class T>
float real_number(T element) {
  if constexpr (Element<T> && is_complex(dtype_of<T>)) {
    return element.imag() == 0 ? static_cast<float>(element.real()) : std::numeric_limits<float>::quiet_NaN();
  } else {
    return static_cast<float>(element);
  }
}

TEST_F(NdArrayTest, EveryDTypeIsReadAndChangedByNumPyAndSeenHere) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  std::vector<AnyArray> arrays;
  std::string names;
  for (std::size_t i = 0; i < dtype_count; ++i) {
    arrays.push_back(AnyArray::create(name_ + "-" + std::to_string(i), static_cast<DType>(i), Shape{2, 3}));
    visit_any_dtype(static_cast<DType>(i), [&](auto type) {
      using T = typename decltype(type)::type;
      const auto view = arrays.back().view<T>();
      for (std::size_t at = 0; at < 6; ++at) view.span()[at] = static_cast<T>(static_cast<float>(at % 2));
    });
    names += std::string(dtype_name(static_cast<DType>(i))) + " ";
  }
  const auto result = test::run_python(python, R"(
import numpy as np, sys
for i, dtype in enumerate(sys.argv[2].split()):
    a = np.load(f'/dev/shm/{sys.argv[1]}-{i}', mmap_mode='r+')
    assert a.dtype == np.dtype(dtype) and a.shape == (2, 3), a.dtype
    assert a.ravel().tolist() == [0, 1, 0, 1, 0, 1], a
    a[1, 2] = 0
    a[0, 0] = 1
    a.flush()
)",
                                       {name_, names});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (auto& each : arrays) {
    visit_any_dtype(each.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      const auto view = each.view<T>();
      EXPECT_EQ(real_number(view(0, 0)), 1.0F) << dtype_name(each.dtype());
      EXPECT_EQ(real_number(view(1, 2)), 0.0F) << dtype_name(each.dtype());
    });
    each.unlink();
  }
}

TEST_F(NdArrayTest, WhatOpenMemmapMakesIsAttachedForEveryDTypeAndShape) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  const auto result = test::run_python(python, R"(
import numpy as np, sys, os
os.umask(0o077)
for dtype in 'bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 complex64 complex128'.split():
    for number, shape in enumerate([(3, 4), (), (0, 5), (7,)]):
        a = np.lib.format.open_memmap(f'{sys.argv[1]}-{dtype}-{number}', mode='w+', dtype=dtype, shape=shape)
        a[...] = np.arange(a.size).reshape(shape) % 2
        a.flush()
)",
                                       {path_.string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (std::size_t i = 0; i < dtype_count; ++i) {
    int number = 0;
    for (const Shape& shape : {Shape{3, 4}, Shape{}, Shape{0, 5}, Shape{7}}) {
      const std::string name =
          name_ + "-" + std::string(dtype_name(static_cast<DType>(i))) + "-" + std::to_string(number++);
      auto array = AnyArray::attach(name);
      EXPECT_EQ(array.dtype(), static_cast<DType>(i));
      EXPECT_EQ(array.shape(), shape);
      visit_any_dtype(array.dtype(), [&](auto type) {
        using T = typename decltype(type)::type;
        const auto elements = array.view<T>().span();
        for (std::size_t at = 0; at < elements.size(); ++at) {
          EXPECT_EQ(real_number(elements[at]), static_cast<float>(at % 2));
        }
      });
      array.unlink();
    }
  }
}

TEST_F(NdArrayTest, APlainSharedMemoryOfPythonIsViewedWithAGivenShape) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  const auto result = test::run_python(python, R"(
import numpy as np, sys
from multiprocessing import shared_memory, resource_tracker
s = shared_memory.SharedMemory(sys.argv[1], create=True, size=16 + 6 * 8)
np.ndarray((2, 3), np.float64, s.buf, 16)[...] = [[1, 2, 3], [4, 5, 6]]
resource_tracker.unregister('/' + sys.argv[1], 'shared_memory')
s.close()
)",
                                       {name_});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  auto array = NdArray<double>::attach_plain(name_, Shape{2, 3}, 16);
  EXPECT_THAT(array.cspan(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(test::thrown_code([&] {
              (void)NdArray<double>::attach_plain(name_, Shape{2, 3}, 24);
            }),
            std::errc::invalid_argument)
      << "one element too far";
  EXPECT_EQ(test::thrown_code([&] { (void)NdArray<double>::attach_plain(name_, Shape{2}, 4); }),
            std::errc::invalid_argument)
      << "misaligned";
  EXPECT_EQ(test::thrown_code([&] {
              (void)NdArray<double>::attach_plain(name_, Shape{1ULL << 32, 1ULL << 32});
            }),
            std::errc::value_too_large);
  EXPECT_EQ(test::thrown_code([&] { (void)NdArray<double>::attach(name_); }), ErrorKind::format);
  array.unlink();
}

TEST_F(NdArrayTest, FortranOrderIsRefusedByTheTypedArrayAndReadThroughStridesByTheOther) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  const auto result = test::run_python(python, R"(
import numpy as np, sys, os
os.umask(0o077)
np.save(open(sys.argv[1], 'wb'), np.asfortranarray(np.arange(6, dtype='f4').reshape(2, 3)))
)",
                                       {path_.string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(complaint(), HasSubstr("Fortran order"));
  auto array = AnyArray::attach(name_);
  const auto view = array.view<float>();
  EXPECT_EQ(view(0, 1), 1.0F);
  EXPECT_EQ(view(1, 2), 5.0F);
  EXPECT_FALSE(view.contiguous());
  array.unlink();
}

TEST_F(NdArrayTest, AnotherDTypeIsNamedInTheError) {
  auto array = NdArray<double>::create(name_, Shape{2});
  EXPECT_EQ(refusal(), ErrorKind::format);
  EXPECT_THAT(complaint(), HasSubstr("its elements are float64, not float32"));
  array.unlink();
}

TEST_F(NdArrayTest, CutAtAnyLengthItIsAnErrorAtOnce) {
  {
    auto array = NdArray<float>::create(name_, Shape{5, 7});
    ASSERT_NO_THROW((void)NdArray<float>::attach(name_));
  }
  const std::string whole = planted();
  ASSERT_EQ(whole.size(), 4096U + 192 + 64);
  for (std::size_t length = 0; length < 4096 + 140; length += length < 200 || length > 4000 ? 1 : 97) {
    plant(whole.substr(0, length));
    ASSERT_TRUE(refusal()) << length;
  }
  plant(whole.substr(0, 4096 + 140));
  EXPECT_NO_THROW((void)NdArray<float>::attach(name_)) << "the data is all there; NumPy would take it, too";
  plant(whole + std::string(1000, 'x'));
  EXPECT_NO_THROW((void)NdArray<float>::attach(name_)) << "longer than it must be";
}

TEST_F(NdArrayTest, WithAnyBitOfItsHeaderFlippedItIsRefused) {
  std::string bytes;
  {
    auto array = NdArray<float>::create(name_, Shape{5, 7});
    bytes = planted();
  }
  const UniqueFd file(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  const auto flip = [&](std::size_t bit) {
    const char flipped = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_EQ(::pwrite(file.get(), &flipped, 1, static_cast<off_t>(bit / 8)), 1);
  };
  for (std::size_t bit = 0; bit < 4096 * 8; bit += bit < 1000 ? 1 : 61) {
    flip(bit);
    ASSERT_EQ(refusal(), ErrorKind::format) << "bit " << bit;
    ASSERT_EQ(::pwrite(file.get(), &bytes[bit / 8], 1, static_cast<off_t>(bit / 8)), 1);
  }
  EXPECT_FALSE(refusal());
}

TEST_F(NdArrayTest, GarbageIsRefused) {
  plant(std::string(10'000, '\xAA'));
  EXPECT_EQ(refusal(), ErrorKind::format);
  EXPECT_THAT(complaint(), HasSubstr("does not begin with"));
  plant(std::string(10'000, '\0'));
  EXPECT_EQ(refusal(), ErrorKind::format);
  plant("");
  EXPECT_TRUE(refusal());
}

TEST_F(NdArrayTest, AHeaderThatClaimsMoreThanThereIsIsRefusedBeforeAnythingIsAllocated) {
  for (const char* shape : {"(1099511627776,)", "(4294967296, 4294967296)", "(9223372036854775808,)", "(-1,)"}) {
    std::string header = make_npy_header(DType::float32, Shape{1});
    const std::size_t at = header.find("(1,)");
    header.replace(at, 4 + std::string(shape).size() - 4 + 0, shape);
    header.resize(4095, ' ');
    plant(header + '\n' + std::string(64, '\0'));
    EXPECT_EQ(refusal(), ErrorKind::format) << shape;
  }
}

TEST_F(NdArrayTest, APlantedFifoLinkOrDirectoryIsRefusedAtOnce) {
  const auto deadline = Deadline::after(std::chrono::seconds(1));
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(refusal(), std::errc::invalid_argument);
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_EQ(refusal(), std::errc::invalid_argument);
  std::filesystem::remove(path_);
  auto target = NdArray<float>::create(name_ + "-target", Shape{1});
  std::filesystem::create_symlink("/dev/shm/" + target.name(), path_);
  EXPECT_TRUE(refusal());
  std::filesystem::remove(path_);
  EXPECT_FALSE(deadline.passed());
  target.unlink();
}

TEST_F(NdArrayTest, APeerThatRewritesTheHeaderDuringUseChangesNothingHere) {
  auto array = NdArray<float>::create(name_, Shape{5, 7});
  auto other = NdArray<float>::attach(name_);
  std::string header = make_npy_header(DType::float64, Shape{1ULL << 40});
  std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary) << header;
  EXPECT_EQ(other.shape(), (Shape{5, 7}));
  other(4, 6) = 1;
  EXPECT_EQ(array.cspan().size(), 35U);
  EXPECT_EQ(array.handle().shape, (Shape{5, 7}));
  EXPECT_EQ(refusal(), ErrorKind::format);
  array.unlink();
}

TEST_F(NdArrayTest, APeerThatRewritesTheHeaderWhileOthersAttachNeverLeadsThemOutside) {
  auto array = NdArray<float>::create(name_, Shape{5, 7});
  const std::string good = planted().substr(0, 4096);
  test::Child scribbler([&] {
    const UniqueFd file(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    const std::string bad = make_npy_header(DType::float32, Shape{5, 700'000});
    for (unsigned i = 0;; ++i) {
      const std::string& header = i % 2 == 0 ? bad : good;
      check_errno(::pwrite(file.get(), header.data(), header.size(), 0), "write", name_);
    }
  });
  int taken = 0;
  for (int i = 0; i < 3000; ++i) {
    try {
      const auto other = NdArray<float>::attach(name_);
      ++taken;
      ASSERT_EQ(other.shape(), (Shape{5, 7}));
      ASSERT_EQ(other(4, 6), 0.0F);
    } catch (const FormatError&) {
    }
  }
  EXPECT_GT(taken, 0);
  array.unlink();
}

}  // namespace
}  // namespace runrig
