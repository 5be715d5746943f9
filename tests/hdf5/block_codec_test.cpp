#include "block_codec.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "foreign_chunks.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::hdf5::detail {
namespace {

using Bytes = std::vector<std::byte>;

Bytes from_hex(std::string_view hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

Bytes expected_values() {
  Bytes bytes(300 * sizeof(std::int32_t));
  for (std::int32_t i = 0; i < 300; ++i) {
    const std::int32_t value = 7 * i % 23;
    std::memcpy(&bytes[static_cast<std::size_t>(i) * sizeof value], &value, sizeof value);
  }
  return bytes;
}

class ForeignChunkTest : public ::testing::TestWithParam<test::ForeignChunk> {
 protected:
  const FilterInfo filter_{GetParam().filter, 1, GetParam().parameters, "foreign"};
  const Bytes stored_ = from_hex(GetParam().hex);
};

TEST_P(ForeignChunkTest, IsDecodedAsItsMakersMeantIt) {
  EXPECT_EQ(block_decoded_bytes(filter_, stored_), 1200U);
  Bytes out(1200);
  ASSERT_TRUE(block_decode(filter_, 4, stored_, out));
  EXPECT_TRUE(out == expected_values());
}

TEST_P(ForeignChunkTest, OfAnotherSizeIsRefused) {
  for (const std::size_t bytes : {1196, 1204, 40, 100000}) {
    Bytes out(bytes);
    EXPECT_FALSE(block_decode(filter_, 4, stored_, out)) << bytes;
  }
  Bytes out(1200);
  for (std::size_t length = 0; length < stored_.size(); ++length) {
    EXPECT_FALSE(block_decode(filter_, 4, std::span(stored_).first(length), out)) << length;
  }
}

TEST_P(ForeignChunkTest, DamagedIsRefusedOrDecodedWithinItsBounds) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    Bytes damaged = stored_;
    for (unsigned k = 0; k <= random() % 3; ++k) {
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    }
    Bytes out(1200 + 64, std::byte{0x5a});
    (void)block_decode(filter_, 4, damaged, std::span(out).first(1200));
    for (std::size_t i = 1200; i < out.size(); ++i) ASSERT_EQ(out[i], std::byte{0x5a}) << "wrote past its end";
  }
}

INSTANTIATE_TEST_SUITE_P(Chunks, ForeignChunkTest, ::testing::ValuesIn(test::foreign_chunks()),
                         [](const auto& each) { return std::string(each.param.label); });

TEST(BlockCodecTest, OurBitshuffleIsTheOriginalsByteForByte) {
  for (const test::ForeignChunk& each : test::foreign_chunks()) {
    if (each.filter != bitshuffle_id || each.parameters.at(4) != 0) continue;
    const FilterInfo filter{each.filter, 1, each.parameters, "bitshuffle"};
    Bytes out(1200);
    ASSERT_EQ(block_encode(filter, 4, expected_values(), out), 1200U);
    EXPECT_TRUE(out == from_hex(each.hex));
  }
}

// Those of a file may be anything, and an output takes its input's filters.
TEST(BlockCodecTest, BitshuffleParametersThatNoChunkCanHaveLeaveItUnfiltered) {
  const Bytes chunk(4096);
  for (const auto& [block, compressor] : std::vector<std::pair<unsigned, unsigned>>{
           {4, 0}, {7, 2}, {4, 3}, {0xfffffff8U, 2}, {0, 1}, {0, 4}, {0, 0xffffffffU}}) {
    const FilterInfo filter{bitshuffle_id, 1, {0, 4, 8, block, compressor}, "bitshuffle"};
    ChunkEncoder encoder({filter}, 8);
    const auto encoded = encoder.encode(chunk);
    EXPECT_EQ(encoded.filter_mask, 1U) << block << " " << compressor;
    EXPECT_EQ(encoded.bytes.size(), chunk.size());
  }
}

TEST(BlockCodecTest, BitsOfAnyItemSizeComeBack) {
  std::mt19937 random(2);
  for (const std::size_t item : {1, 2, 3, 4, 8, 12, 16}) {
    for (const std::size_t items : {8, 16, 24, 128, 1000}) {
      Bytes in(item * items);
      for (std::byte& each : in) each = static_cast<std::byte>(random());
      Bytes bits(in.size());
      Bytes back(in.size());
      transpose_bits(in, bits, item);
      const std::size_t row = items / 8;
      for (std::size_t i = 0; i < items; ++i) {
        for (std::size_t k = 0; k < 8 * item; ++k) {
          const unsigned bit = std::to_integer<unsigned>(in[i * item + k / 8]) >> (k % 8) & 1U;
          ASSERT_EQ(std::to_integer<unsigned>(bits[k * row + i / 8]) >> (i % 8) & 1U, bit);
        }
      }
      restore_bits(bits, back, item);
      ASSERT_TRUE(back == in) << items << " items of " << item;
    }
  }
}

}  // namespace
}  // namespace runrig::hdf5::detail
