#include "encoding.hpp"

#include <gtest/gtest.h>

#include "runrig/channel/pickle.hpp"
#include "support.hpp"

namespace runrig::batch {
namespace {

hdf5::ObjectInfo sample() {
  hdf5::ObjectInfo object;
  object.path = "/group/\xff name";  // HDF5 does not promise UTF-8
  object.kind = hdf5::ObjectKind::dataset;
  object.dataset.emplace();
  hdf5::DatasetInfo& info = *object.dataset;
  info.type.numeric = true;
  info.type.dtype = DType::int16;
  info.type.numpy = ">i2";
  info.type.big_endian = info.type.swapped = info.type.direct = true;
  info.type.item_bytes = 2;
  info.shape = Shape{3, 4};
  info.maxshape = Shape{hdf5::unlimited, 4};
  info.layout = hdf5::Layout::chunked;
  info.chunk = Shape{2, 2};
  info.filters = {{1, 1, {4}, "deflate-4", true, true}, {32008, 0, {1, 2, 3}, "filter 32008", false, false}};
  info.fill = {std::byte{1}, std::byte{2}};
  info.size_bytes = UINT64_MAX;
  info.file_offset = 2048;
  object.attributes.push_back({"units", {}, Shape{}, false, "\"K\"", ""});
  return object;
}

TEST(EncodingTest, AnObjectSurvivesTheWayThroughAPickle) {
  const auto object = decode_object(pickle::loads(pickle::dumps(encode(sample()))));
  EXPECT_EQ(object.path, sample().path);
  ASSERT_TRUE(object.dataset);
  EXPECT_EQ(object.dataset->type.numpy, ">i2");
  EXPECT_EQ(object.dataset->type.dtype, DType::int16);
  EXPECT_EQ(object.dataset->maxshape, (Shape{hdf5::unlimited, 4}));
  EXPECT_EQ(object.dataset->chunk, (Shape{2, 2}));
  EXPECT_EQ(object.dataset->filters[1].parameters, (std::vector<unsigned>{1, 2, 3}));
  EXPECT_FALSE(object.dataset->filters[1].available);
  EXPECT_FALSE(object.dataset->filters[1].encodable);
  EXPECT_EQ(object.dataset->fill, sample().dataset->fill);
  EXPECT_EQ(object.dataset->size_bytes, UINT64_MAX);
  EXPECT_EQ(object.dataset->file_offset, 2048U);
  EXPECT_EQ(object.attributes[0].value, "\"K\"");
}

TEST(EncodingTest, WhatAWorkerCannotMeanIsRefused) {
  const auto refuses = [](const char* key, pickle::Object value) {
    pickle::Object object = encode(*sample().dataset);
    object.insert_or_assign(key, std::move(value));
    return test::thrown_code([&] { (void)decode_dataset(object); }) == ErrorKind::format;
  };
  EXPECT_TRUE(refuses("layout", 99));
  EXPECT_TRUE(refuses("layout", -1));
  EXPECT_TRUE(refuses("chunk", encode(Shape{0, 2})));
  EXPECT_TRUE(refuses("chunk", encode(Shape{2})));
  EXPECT_TRUE(refuses("fill", pickle::Object::bytes(std::vector<std::byte>(3))));
  EXPECT_TRUE(refuses("shape", pickle::Object("x")));
}

TEST(EncodingTest, StatisticsSurviveAndTheirDTypeIsChecked) {
  const double values[] = {1, 2, 4};
  const Statistics statistics = summarize_block(DType::float64, reinterpret_cast<const std::byte*>(values), 3);
  EXPECT_EQ(decode_statistics(encode(statistics)).sum(), 7.0);
  std::vector<std::byte> bytes(sizeof(Statistics));
  bytes[0] = std::byte{200};
  EXPECT_EQ(test::thrown_code([&] { (void)decode_statistics(pickle::Object::bytes(bytes)); }), ErrorKind::format);
}

}  // namespace
}  // namespace runrig::batch
