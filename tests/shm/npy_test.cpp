#include "runrig/shm/npy.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <random>
#include <string>

#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::HasSubstr;

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

// A header as NumPy would write it, with any dictionary.
std::string header_of(std::string dictionary, int major = 1) {
  const std::size_t prelude = major == 1 ? 10 : 12;
  while ((prelude + dictionary.size() + 1) % 64 != 0) dictionary += ' ';
  dictionary += '\n';
  std::string header("\x93NUMPY", 6);
  header += static_cast<char>(major);
  header += '\0';
  for (std::size_t i = 0; i < prelude - 8; ++i) header += static_cast<char>(dictionary.size() >> (8 * i) & 0xFFU);
  return header + dictionary;
}

NpyHeader parse(const std::string& header, std::size_t data_bytes = 1000) {
  return parse_npy_header(as_bytes(header), header.size() + data_bytes, "x");
}

std::string complaint(const std::string& dictionary) {
  return test::thrown_text([&] { (void)parse(header_of(dictionary)); });
}

TEST(NpyTest, TheHeaderWeMakeFillsAPageAndReadsBackForEveryDTypeAndShape) {
  for (std::size_t i = 0; i < dtype_count; ++i) {
    const auto dtype = static_cast<DType>(i);
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{3}, Shape{2, 3}, Shape{0, 1ULL << 62, 7}}) {
      const std::string header = make_npy_header(dtype, shape);
      ASSERT_EQ(header.size(), npy_header_bytes);
      const NpyHeader read = parse(header);
      EXPECT_EQ(read.dtype, dtype);
      EXPECT_EQ(read.shape, shape);
      EXPECT_EQ(read.order, MemoryOrder::row_major);
      EXPECT_EQ(read.data_offset, npy_header_bytes);
      EXPECT_EQ(read.data_bytes, shape.elements() * item_bytes(dtype));
    }
  }
}

TEST(NpyTest, TheLongestShapeStillFitsThePage) {
  std::vector<std::uint64_t> extents(max_rank, ~0ULL);
  extents[0] = 0;
  const Shape shape(extents);
  EXPECT_EQ(parse(make_npy_header(DType::float64, shape)).shape, shape);
}

TEST(NpyTest, AShapeWhoseBytesCannotBeCountedIsRefusedBeforeAnythingIsMade) {
  for (const Shape& shape : {Shape{1ULL << 32, 1ULL << 32}, Shape{1ULL << 63}, Shape{1ULL << 61}}) {
    EXPECT_EQ(test::thrown_code([&] { (void)make_npy_header(DType::float64, shape); }), std::errc::value_too_large);
  }
}

TEST(NpyTest, AllThreeVersionsAndEverySpellingThatNumPyUsesAreRead) {
  for (const int version : {1, 2, 3}) {
    const auto header = parse(header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", version));
    EXPECT_EQ(header.shape, (Shape{2, 3}));
    EXPECT_EQ(header.data_offset, 64U * 2);
  }
  EXPECT_EQ(parse(header_of("{'shape':(3,),\"fortran_order\" : True,'descr': 'f8'}")).order, MemoryOrder::column_major);
  EXPECT_EQ(parse(header_of("{'shape': (3L, 2L), 'fortran_order': False, 'descr': '|u1'}")).shape, (Shape{3, 2}));
  EXPECT_EQ(parse(header_of("{'shape': (), 'fortran_order': False, 'descr': '=i8'}")).shape, Shape{});
}

struct BadCase {
  const char* label;
  const char* dictionary;
  const char* reason;
};
class NpyBadHeaderTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(NpyBadHeaderTest, IsRefusedWithTheReason) {
  EXPECT_EQ(test::thrown_code([] { (void)parse(header_of(GetParam().dictionary)); }), ErrorKind::format);
  EXPECT_THAT(complaint(GetParam().dictionary), HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
    Headers, NpyBadHeaderTest,
    ::testing::Values(
        BadCase{"big_endian", "{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "other byte order"},
        BadCase{"complex", "{'descr': '<c32', 'fortran_order': False, 'shape': (2,)}", "'<c32' is not one of our"},
        BadCase{"object", "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "'|O' is not one of our"},
        BadCase{"structured", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "structured"},
        BadCase{"negative", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "negative"},
        BadCase{"too_long", "{'descr': '<f4', 'fortran_order': False, 'shape': (251,)}", "behind the header"},
        BadCase{"overflow", "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
                "behind the header"},
        BadCase{"beyond_64_bits", "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,)}",
                "does not fit 64 bits"},
        BadCase{"axes_33",
                "{'descr': '<f4', 'fortran_order': False, 'shape': "
                "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
                "more than 32 axes"},
        BadCase{"not_a_tuple", "{'descr': '<f4', 'fortran_order': False, 'shape': (3)}", "not a tuple"},
        BadCase{"list", "{'descr': '<f4', 'fortran_order': False, 'shape': [3]}", "'(' should be here"},
        BadCase{"hexadecimal", "{'descr': '<f4', 'fortran_order': False, 'shape': (0x3,)}", "lacks a comma"},
        BadCase{"leading_zero", "{'descr': '<f4', 'fortran_order': False, 'shape': (03,)}", "not a number"},
        BadCase{"number_for_bool", "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}", "neither True nor False"},
        BadCase{"missing_key", "{'descr': '<f4', 'shape': (3,)}", "is missing"},
        BadCase{"unknown_key", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}",
                "unknown or there twice"},
        BadCase{"twice", "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (3,)}", "there twice"},
        BadCase{"trailing", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x", "follows the dictionary"},
        BadCase{"escape", "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (3,)}", "escape"},
        BadCase{"unterminated", "{'descr': '<f4", "a string"}, BadCase{"empty", "", "'{' should be here"},
        BadCase{"no_dictionary", "(1, 2)", "'{' should be here"}),
    [](const auto& each) { return std::string(each.param.label); });

TEST(NpyTest, AWrongMagicOrVersionOrLengthIsNamed) {
  std::string header = make_npy_header(DType::float32, Shape{3});
  EXPECT_THAT(test::thrown_text([&] { (void)parse("P" + header); }), HasSubstr("NUMPY"));
  header[6] = 9;
  EXPECT_THAT(test::thrown_text([&] { (void)parse(header); }), HasSubstr("version 9.0"));
  // A header that claims 4 GiB of itself.
  std::string huge = header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 2);
  for (int i = 8; i < 12; ++i) huge[static_cast<std::size_t>(i)] = '\xFF';
  EXPECT_THAT(test::thrown_text([&] { (void)parse_npy_header(as_bytes(huge), std::size_t{1} << 40, "x"); }),
              HasSubstr("claims 4294967295 bytes"));
}

TEST(NpyTest, DataThatIsNotAlignedToItsItemsIsRefused) {
  std::string header("\x93NUMPY\1\0\0\0", 10);
  const std::string dictionary = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}\n";
  header[8] = static_cast<char>(dictionary.size());
  EXPECT_THAT(test::thrown_text([&] { (void)parse(header + dictionary); }), HasSubstr("not aligned for float64"));
}

// The buffer ends where the header was cut, so the address sanitizer sees any read behind it.
std::optional<NpyHeader> parse_exact(const std::string& bytes, std::size_t file_bytes) {
  const std::vector<std::byte> exact(as_bytes(bytes).begin(), as_bytes(bytes).end());
  try {
    return parse_npy_header(exact, file_bytes, "x");
  } catch (const FormatError&) {
    return std::nullopt;
  }
}

TEST(NpyTest, CutAtEveryLengthItIsAnError) {
  for (const std::string& header : {make_npy_header(DType::float32, Shape{5, 7}),
                                    header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 7)}", 3)}) {
    for (std::size_t length = 0; length < header.size(); ++length) {
      ASSERT_FALSE(parse_exact(header.substr(0, length), length)) << length;
      ASSERT_FALSE(parse_exact(header.substr(0, length), header.size() + 140)) << length;
    }
    EXPECT_FALSE(parse_exact(header, header.size() + 139)) << "the data lacks a byte";
    EXPECT_TRUE(parse_exact(header, header.size() + 140));
  }
}

TEST(NpyTest, WithAnyBitFlippedItIsRefusedOrStillInsideTheFile) {
  const std::string good = header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 7)}");
  const std::size_t file_bytes = good.size() + 140;
  int harmless = 0;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const auto header = parse_exact(bad, file_bytes);
    if (!header) continue;
    ++harmless;
    ASSERT_LE(header->data_offset, file_bytes);
    ASSERT_LE(header->data_bytes, file_bytes - header->data_offset);
    ASSERT_EQ(header->data_bytes, header->shape.elements() * item_bytes(header->dtype));
    ASSERT_EQ(header->data_offset % item_bytes(header->dtype), 0U);
  }
  EXPECT_LT(harmless, 20) << "only digits of the shape and '<' to '=' can pass";
}

TEST(NpyTest, RandomDamageNeverReadsOutsideTheHeaderOrPromisesTooMuch) {
  std::mt19937 random(20261121);
  const std::string good = header_of("{'descr': '<i2', 'fortran_order': True, 'shape': (12, 3, 4)}", 2);
  const std::string alphabet = "{}()[],:' \"\n0123456789LTrueFalse<>|=if\\-\xFF";
  for (int round = 0; round < 20'000; ++round) {
    std::string bad = good.substr(0, random() % 4 == 0 ? random() % good.size() : good.size());
    for (auto hits = random() % 6; hits > 0 && !bad.empty(); --hits)
      bad[random() % bad.size()] = alphabet[random() % alphabet.size()];
    const std::size_t file_bytes = bad.size() + random() % 400;
    if (const auto header = parse_exact(bad, file_bytes)) {
      ASSERT_LE(header->data_offset, file_bytes);
      ASSERT_LE(header->data_bytes, file_bytes - header->data_offset);
    }
  }
}

TEST(NpyTest, AHeaderLongerThanThePageIsReadFromTheFileToo) {
  const std::string header =
      header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 7), " + std::string(20'000, ' ') + "}", 2);
  const UniqueFd file(::memfd_create("npy-test", MFD_CLOEXEC));
  ASSERT_EQ(::write(file.get(), header.data(), header.size()), static_cast<ssize_t>(header.size()));
  ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(header.size() + 140)), 0);
  EXPECT_EQ(read_npy_header(file.get(), header.size() + 140, "x").shape, (Shape{5, 7}));
  ASSERT_EQ(::ftruncate(file.get(), 15'000), 0);
  EXPECT_EQ(test::thrown_code([&] { (void)read_npy_header(file.get(), header.size() + 140, "x"); }), ErrorKind::format);
}

TEST(NpyTest, NumPyReadsWhatWeWriteAndWeReadWhatNumPyWrites) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  const test::TemporaryDirectory directory;
  for (std::size_t i = 0; i < dtype_count; ++i) {
    std::ofstream file(directory / std::string(dtype_name(static_cast<DType>(i))));
    file << make_npy_header(static_cast<DType>(i), Shape{2, 3})
         << std::string(6 * item_bytes(static_cast<DType>(i)), '\0');
  }
  const auto result = test::run_python(python, R"(
import numpy as np, os, sys
os.chdir(sys.argv[1])
for name in os.listdir('.'):
    a = np.load(name)
    assert a.dtype == np.dtype(name) and a.shape == (2, 3) and a.flags.c_contiguous, name
    for version in (1, 0), (2, 0), (3, 0):
        for order in 'CF':
            with open(f'{name}.{version[0]}.{order}', 'wb') as f:
                np.lib.format.write_array(f, np.zeros((4, 5), name, order=order), version=version)
)",
                                       {directory.path().string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  int read = 0;
  for (const auto& each : std::filesystem::directory_iterator(directory.path())) {
    const auto extension = each.path().extension().string();
    if (extension.empty()) continue;
    const UniqueFd file(::open(each.path().c_str(), O_RDONLY | O_CLOEXEC));
    const auto header = read_npy_header(file.get(), each.file_size(), each.path().string());
    EXPECT_EQ(dtype_name(header.dtype), each.path().stem().stem().string());
    EXPECT_EQ(header.shape, (Shape{4, 5}));
    EXPECT_EQ(header.order, extension == ".F" ? MemoryOrder::column_major : MemoryOrder::row_major);
    EXPECT_EQ(header.data_bytes, each.file_size() - header.data_offset);
    ++read;
  }
  EXPECT_EQ(read, dtype_count * 3 * 2);
}

}  // namespace
}  // namespace runrig
