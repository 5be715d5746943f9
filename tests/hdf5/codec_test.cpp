#include "runrig/hdf5/codec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <random>

#include "runrig/sync/error.hpp"
#include "support.hpp"

namespace runrig::hdf5 {
namespace {

std::vector<std::byte> sample(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> values(bytes);
  // Half noise, half runs: both the compressors' paths.
  for (std::size_t i = 0; i < bytes; ++i) {
    values[i] = i % 100 < 50 ? static_cast<std::byte>(random()) : static_cast<std::byte>(i / 100);
  }
  return values;
}

class PipelineTest : public ::testing::TestWithParam<std::string_view> {};
TEST_P(PipelineTest, DecodesWhatItEncodes) {
  const std::vector<FilterInfo> filters = parse_filters(GetParam());
  for (const std::size_t item : {1, 2, 3, 4, 8}) {
    ChunkEncoder encoder(filters, item);
    ChunkDecoder decoder(filters, item);
    for (const std::size_t items : {1, 2, 15, 16, 17, 1000, 4099}) {
      const std::vector<std::byte> chunk = sample(items * item, static_cast<unsigned>(items));
      const auto encoded = encoder.encode(chunk);
      EXPECT_LE(encoded.bytes.size(), encoder.bound(chunk.size()));
      std::vector<std::byte> stored(encoded.bytes.begin(), encoded.bytes.end());
      std::vector<std::byte> out(chunk.size());
      decoder.decode(stored, encoded.filter_mask, out, "d at (0,)");
      EXPECT_TRUE(out == chunk) << items << " items of " << item;
    }
  }
}

TEST_P(PipelineTest, GivesTheSameIntoTheCallersRoomAndTouchesNothingBehindIt) {
  const std::vector<FilterInfo> filters = parse_filters(GetParam());
  for (const std::size_t item : {1, 4}) {
    ChunkEncoder plain(filters, item);
    ChunkEncoder encoder(filters, item);
    for (const std::size_t items : {1, 17, 4099}) {
      const std::vector<std::byte> chunk = sample(items * item, static_cast<unsigned>(items));
      const auto expected = plain.encode(chunk);
      const std::size_t bound = encoder.bound(chunk.size());
      std::vector<std::byte> room(bound + 64, std::byte{0xA5});
      const auto encoded = encoder.encode(chunk, std::span(room).first(bound));
      EXPECT_EQ(encoded.filter_mask, expected.filter_mask);
      EXPECT_TRUE(std::ranges::equal(encoded.bytes, expected.bytes)) << items << " items of " << item;
      EXPECT_TRUE(std::all_of(room.begin() + static_cast<std::ptrdiff_t>(bound), room.end(),
                              [](std::byte each) { return each == std::byte{0xA5}; }));
      const bool last_applied = !filters.empty() && (encoded.filter_mask >> (filters.size() - 1) & 1U) == 0;
      const bool skipped = !filters.empty() && filters.back().name == "shuffle" && item == 1;
      EXPECT_EQ(encoded.bytes.data() == room.data(), last_applied && !skipped) << items << " items of " << item;
      // A room that is too small is not used.
      std::vector<std::byte> small(items * item / 2);
      const auto elsewhere = encoder.encode(chunk, small);
      EXPECT_TRUE(std::ranges::equal(elsewhere.bytes, expected.bytes));
    }
  }
}

TEST_P(PipelineTest, DamagedBytesAreAnErrorOrTheTruth) {
  const std::vector<FilterInfo> filters = parse_filters(GetParam());
  ChunkEncoder encoder(filters, 4);
  ChunkDecoder decoder(filters, 4);
  const std::vector<std::byte> chunk = sample(4000, 1);
  const auto encoded = encoder.encode(chunk);
  // A chunk that deflate did not shrink is stored without it, and so without its checksum.
  const bool checked = GetParam().find("fletcher") != std::string_view::npos ||
                       (GetParam().find("deflate") != std::string_view::npos && encoded.filter_mask == 0);
  const std::vector<std::byte> whole(encoded.bytes.begin(), encoded.bytes.end());
  std::mt19937 random(2);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::byte> stored = whole;
    if (round % 3 == 0) {
      stored.resize(random() % whole.size());
    } else {
      stored[random() % stored.size()] ^= static_cast<std::byte>(1 + random() % 255);
    }
    std::vector<std::byte> out(chunk.size());
    try {
      decoder.decode(stored, encoded.filter_mask, out, "d at (0,)");
      if (checked) {
        EXPECT_TRUE(out == chunk) << "wrong numbers passed the check";
      }
    } catch (const FormatError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("read chunk 'd at (0,)'"));
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Filters, PipelineTest,
                         ::testing::Values("none", "shuffle", "deflate:0", "deflate:4", "shuffle,deflate:9",
                                           "deflate:fast", "shuffle,deflate:fast,fletcher32", "lzf", "shuffle,lzf",
                                           "fletcher32", "fletcher32,deflate:1", "shuffle,deflate,fletcher32",
                                           "fletcher32,shuffle,deflate:6", "deflate:3,shuffle"));

TEST(CodecTest, ADeflateBombIsBoundedByTheChunk) {
  const std::vector<FilterInfo> filters{deflate_filter(4)};
  const std::vector<std::byte> zeros(std::size_t{64} << 20);
  ChunkEncoder encoder(filters, 4);
  const auto bomb = encoder.encode(zeros);
  std::vector<std::byte> stored(bomb.bytes.begin(), bomb.bytes.end());
  std::vector<std::byte> out(1000);
  EXPECT_THAT(test::thrown_text([&] { ChunkDecoder(filters, 4).decode(stored, 0, out, "d"); }),
              ::testing::HasSubstr("longer than the chunk"));
}

TEST(CodecTest, AShuffleThatClaimsHugeItemsCostsNothing) {
  std::vector<FilterInfo> filters{shuffle_filter()};
  filters[0].parameters = {0xffffffff};
  std::vector<std::byte> stored = sample(1000, 3);
  std::vector<std::byte> out(1000);
  const auto start = std::chrono::steady_clock::now();
  ChunkDecoder(filters, 4).decode(stored, 0, out, "d");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_TRUE(out == stored);
}

TEST(CodecTest, SwappedElementsAreEncodedInTheOtherOrder) {
  ChunkEncoder encoder({}, 2, 2);
  const std::array<std::byte, 4> chunk{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  const auto swapped = ::testing::ElementsAre(std::byte{2}, std::byte{1}, std::byte{4}, std::byte{3});
  EXPECT_THAT(encoder.encode(chunk).bytes, swapped);
  ChunkEncoder of_parts({}, 4, 2);  // a complex number's parts stay in their order
  EXPECT_THAT(of_parts.encode(chunk).bytes, swapped);
}

TEST(CodecTest, ChunksAreCutOutOfBoxesAndPaddedWithFillValues) {
  std::vector<std::byte> values(12);  // 3 x 4, the box at (2, 4)
  for (std::size_t i = 0; i < 12; ++i) values[i] = static_cast<std::byte>(i);
  const std::array fill{std::byte{0xff}};
  std::vector<std::byte> out(6);
  const Box box{Shape{2, 4}, Shape{3, 4}};
  extract_chunk(values, box, Shape{4, 6}, Shape{2, 3}, fill, out);
  EXPECT_THAT(out, ::testing::ElementsAre(std::byte{10}, std::byte{11}, fill[0], fill[0], fill[0], fill[0]));
  extract_chunk(values, box, Shape{2, 3}, Shape{2, 3}, fill, out);
  EXPECT_THAT(out, ::testing::ElementsAre(fill[0], std::byte{0}, std::byte{1}, fill[0], std::byte{4}, std::byte{5}));
}

TEST(CodecTest, FilterNamesThatAreNoneAreRefused) {
  EXPECT_THAT(test::thrown_text([] { (void)parse_filters("shuffle,zip"); }), ::testing::HasSubstr("known are"));
  EXPECT_THAT(test::thrown_text([] { (void)parse_filters("deflate:1,lzf"); }), ::testing::HasSubstr("at most"));
  EXPECT_TRUE(parse_filters("").empty());
  EXPECT_EQ(parse_filters("deflate:7").at(0).name, "deflate-7");
  EXPECT_EQ(parse_filters("deflate:fast").at(0).parameters, std::vector<unsigned>{1});
}

}  // namespace
}  // namespace runrig::hdf5
