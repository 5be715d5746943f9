#include "deflater.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "shuffle.hpp"

namespace runrig::hdf5::detail {
namespace {

using Bytes = std::vector<std::byte>;
constexpr std::size_t corpus_bytes = std::size_t{160} << 10;

template <class T, class Make>
Bytes values(Make&& make) {
  Bytes bytes(corpus_bytes);
  for (std::size_t i = 0; i < corpus_bytes / sizeof(T); ++i) {
    const T value = make(i);
    std::memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
  }
  return bytes;
}

Bytes shuffled(const Bytes& in, std::size_t item_bytes) {
  Bytes out(in.size());
  detail::shuffle(in, out, item_bytes);
  return out;
}

struct Corpus {
  const char* label;
  Bytes (*make)();
};

float field(std::size_t i) {
  return static_cast<float>(std::sin(static_cast<double>(i % 512) / 97) * std::cos(static_cast<double>(i / 512) / 131));
}
Bytes measured() {
  std::mt19937 random(1);
  std::normal_distribution<float> noise(0, 0.4F);
  return values<float>([&](std::size_t i) { return std::round((field(i) * 20 + noise(random)) * 256) / 256; });
}
Bytes land_and_sea() {
  return values<float>([](std::size_t i) {
    return (i % 512 / 64 + i / 32768) % 2 == 0 ? std::round(field(i) * 5120) / 256
                                               : std::numeric_limits<float>::quiet_NaN();
  });
}
Bytes walk() {
  std::mt19937 random(2);
  int at = 0;
  return values<std::int16_t>([&](std::size_t) { return static_cast<std::int16_t>(at += int(random() % 7) - 3); });
}
Bytes image() {
  std::mt19937 random(3);
  return values<std::int16_t>(
      [&](std::size_t i) { return static_cast<std::int16_t>(1000 * field(i) + float(random() % 3)); });
}
Bytes counting() {
  return values<std::int32_t>([](std::size_t i) { return static_cast<std::int32_t>(i); });
}
Bytes waves() {
  return values<double>([](std::size_t i) { return std::sin(static_cast<double>(i) / 1000); });
}
Bytes labels() {
  std::mt19937 random(4);
  return values<std::int32_t>([&](std::size_t) { return static_cast<std::int32_t>(random() % 10); });
}
Bytes few_counts() {
  std::mt19937 random(5);
  return values<std::int32_t>([&](std::size_t) { return random() % 500 == 0 ? int(random() % 50) : 0; });
}
Bytes mask(unsigned percent) {
  std::mt19937 random(6);
  return values<std::uint8_t>([&](std::size_t) { return static_cast<std::uint8_t>(random() % 100 < percent); });
}
Bytes smooth_mask() {
  return values<std::uint8_t>([](std::size_t i) { return static_cast<std::uint8_t>(field(i) > 0.3F); });
}
Bytes noise() {
  std::mt19937 random(7);
  return values<std::uint32_t>([&](std::size_t) { return static_cast<std::uint32_t>(random()); });
}
Bytes text() {
  std::mt19937 random(8);
  std::string all;
  while (all.size() < corpus_bytes) all += "station " + std::to_string(random() % 4000) + ", degrees north\n";
  Bytes bytes(corpus_bytes);
  std::memcpy(bytes.data(), all.data(), corpus_bytes);
  return bytes;
}
Bytes small() {
  Bytes all = shuffled(counting(), 4);
  all.resize(4000);
  return all;
}

class DeflaterTest : public ::testing::TestWithParam<Corpus> {};

Bytes inflated(std::span<const std::byte> stream, std::size_t bytes) {
  Bytes out(bytes + 1);
  uLongf made = out.size();
  EXPECT_EQ(::uncompress(reinterpret_cast<Bytef*>(out.data()), &made, reinterpret_cast<const Bytef*>(stream.data()),
                         stream.size()),
            Z_OK);
  out.resize(made);
  return out;
}

std::size_t zlib_bytes(const Bytes& in, int level) {
  uLongf made = ::compressBound(in.size());
  Bytes out(made);
  EXPECT_EQ(::compress2(reinterpret_cast<Bytef*>(out.data()), &made, reinterpret_cast<const Bytef*>(in.data()),
                        in.size(), level),
            Z_OK);
  return made;
}

TEST_P(DeflaterTest, StreamsAreZlibsOwnAndNoLargerThanItsAtEachLevel) {
  const Bytes in = GetParam().make();
  Bytes out(2 * in.size() + 1024);
  for (unsigned level = 0; level <= 9; ++level) {
    const std::size_t made = Deflater(level).compress(in, out);
    ASSERT_GT(made, 0U) << level;
    EXPECT_TRUE(inflated(std::span(out).first(made), in.size()) == in) << level;
    EXPECT_LE(made, zlib_bytes(in, static_cast<int>(level)) * 102 / 100) << level;
  }
}

TEST_P(DeflaterTest, FastStreamsAreZlibsOwnAndTheSameEachTime) {
  const Bytes in = GetParam().make();
  Bytes out(2 * in.size() + 1024);
  Deflater fast{Deflater::Fast{}};
  const std::size_t made = fast.compress(in, out);
  ASSERT_GT(made, 0U);
  EXPECT_TRUE(inflated(std::span(out).first(made), in.size()) == in);
  Bytes between = noise();
  between.resize(100'000);
  Bytes again(out.size());
  (void)fast.compress(between, again);
  ASSERT_EQ(fast.compress(in, again), made);
  EXPECT_TRUE(std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(made), again.begin()));
}

INSTANTIATE_TEST_SUITE_P(
    Data, DeflaterTest,
    ::testing::Values(Corpus{"measured", measured}, Corpus{"measured_shuffled", [] { return shuffled(measured(), 4); }},
                      Corpus{"land_and_sea", land_and_sea},
                      Corpus{"land_and_sea_shuffled", [] { return shuffled(land_and_sea(), 4); }}, Corpus{"walk", walk},
                      Corpus{"walk_shuffled", [] { return shuffled(walk(), 2); }}, Corpus{"image", image},
                      Corpus{"image_shuffled", [] { return shuffled(image(), 2); }}, Corpus{"counting", counting},
                      Corpus{"counting_shuffled", [] { return shuffled(counting(), 4); }}, Corpus{"waves", waves},
                      Corpus{"waves_shuffled", [] { return shuffled(waves(), 8); }}, Corpus{"labels", labels},
                      Corpus{"labels_shuffled", [] { return shuffled(labels(), 4); }}, Corpus{"few_counts", few_counts},
                      Corpus{"mask_3", [] { return mask(3); }}, Corpus{"mask_30", [] { return mask(30); }},
                      Corpus{"smooth_mask", smooth_mask}, Corpus{"noise", noise}, Corpus{"text", text},
                      Corpus{"small", small}, Corpus{"zeros", [] { return Bytes(corpus_bytes); }}),
    [](const auto& each) { return std::string(each.param.label); });

TEST(DeflaterFitTest, WhatDoesNotFitIsNotWritten) {
  const Bytes in = noise();
  Bytes out(in.size() - 1);
  EXPECT_EQ(Deflater(4).compress(in, out), 0U);
  EXPECT_EQ(Deflater(Deflater::Fast{}).compress(in, out), 0U);
}

}  // namespace
}  // namespace runrig::hdf5::detail
