#include "runrig/channel/address.hpp"

#include <gtest/gtest.h>

#include <string>

#include "runrig/channel/pickle.hpp"
#include "runrig/sync/error.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using pickle::Object;

TEST(AddressTest, ThePythonFormatsAreThese) {
  const Address tcp("example.org", 50000);
  EXPECT_EQ(tcp.family(), Address::Family::inet);
  EXPECT_EQ(tcp.to_object(), Object::tuple({"example.org", 50000}));
  const Address path("/tmp/socket");
  EXPECT_EQ(path.family(), Address::Family::unix_socket);
  EXPECT_EQ(path.to_object(), Object("/tmp/socket"));
  const Address abstract = Address::abstract("name");
  EXPECT_EQ(abstract.family(), Address::Family::abstract_socket);
  const std::string bytes("\0name", 5);
  EXPECT_EQ(abstract.to_object(), Object::bytes(std::as_bytes(std::span(bytes))));
  EXPECT_EQ(Address(bytes), abstract);
  for (const Address& each : {tcp, path, abstract}) EXPECT_EQ(Address::from_object(each.to_object()), each);
}

TEST(AddressTest, Parse_ReadsWhatToStringWrites) {
  for (const char* text : {"example.org:50000", ":7", "[::1]:80", "127.0.0.1:0", "/tmp/socket", "./socket", "@name"}) {
    EXPECT_EQ(to_string(Address::parse(text)), text);
  }
  EXPECT_EQ(Address::parse("[::1]:80").host(), "::1");
  for (const char* text : {"", "name", "host:", "host:x", "host:65536", "host:-1", "::1:80", "@", "host:8 "}) {
    EXPECT_EQ(test::thrown_code([&] { (void)Address::parse(text); }), std::errc::invalid_argument) << text;
  }
}

TEST(AddressTest, WhatTheKernelHasNoRoomForIsRefused) {
  EXPECT_NO_THROW(Address("/" + std::string(106, 'x')));
  const auto code = test::thrown_code([] { Address("/" + std::string(107, 'x')); });
  EXPECT_EQ(code, std::errc::filename_too_long);
  EXPECT_EQ(test::thrown_code([] { Address(std::string("/a\0b", 4)); }), std::errc::invalid_argument);
}

TEST(AddressTest, FromObject_RefusesWhatPythonWouldNotSend) {
  for (const Object& each :
       {Object(), Object(7), Object::tuple({"host"}), Object::tuple({"host", 65536}), Object::tuple({"host", -1}),
        Object::tuple({1, 2}), Object::list({"host", 1}), Object(""), Object(std::string(200, 'x'))}) {
    EXPECT_EQ(test::thrown_code([&] { (void)Address::from_object(each); }), ErrorKind::format);
  }
}

}  // namespace
}  // namespace runrig
