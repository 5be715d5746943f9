#include "journal.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstring>

#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/killpoint.hpp"
#include "support.hpp"

namespace runrig::batch {
namespace {

class JournalTest : public ::testing::Test {
 protected:
  AnonymousMemory memory_ = AnonymousMemory::create("journal-test", 64 << 10);
  const Journal journal_{memory_.writable_bytes().data(), memory_.size_bytes()};
  void SetUp() override { journal_.reset(); }
};

TEST_F(JournalTest, RecordsAndTheLastActionAreReadBack) {
  EXPECT_TRUE(journal_.records().empty());
  journal_.act("reading /x");
  journal_.append(pickle::Object("one"));
  journal_.append(pickle::Object(2));
  journal_.set_next(5);
  const auto records = journal_.records();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].as_string(), "one");
  EXPECT_EQ(records[1].as_int(), 2);
  EXPECT_EQ(journal_.action(), "reading /x");
  EXPECT_EQ(journal_.next(), 5U);
}

TEST_F(JournalTest, WhatAKilledWriterFinishedIsKeptAndTheRestIsNotSeen) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  EXPECT_EQ(test::run_in_child([&] {
              killpoint::arm("batch.journal.written", 2);
              journal_.act("first");
              journal_.append(pickle::Object(1));
              journal_.act("second");
              journal_.append(pickle::Object(2));
            }),
            -SIGKILL);
  EXPECT_EQ(journal_.records().size(), 1U);
  EXPECT_EQ(journal_.action(), "second");
}

TEST_F(JournalTest, ARecordThatDoesNotFitIsAnErrorAndTheOthersStay) {
  journal_.append(pickle::Object(1));
  EXPECT_EQ(test::thrown_code([&] { journal_.append(pickle::Object(std::string(1 << 20, 'x'))); }),
            std::errc::no_buffer_space);
  EXPECT_EQ(journal_.records().size(), 1U);
}

TEST_F(JournalTest, BytesOfAWriterGoneWildAreAnErrorNeverACrash) {
  journal_.append(pickle::Object("text"));
  const auto bytes = memory_.writable_bytes();
  for (std::size_t i = 0; i < 1400; ++i) {
    std::vector<std::byte> before(bytes.begin(), bytes.begin() + 4096);
    for (const int value : {0x00, 0x7f, 0xff}) {
      bytes[i] = static_cast<std::byte>(value);
      try {
        (void)journal_.records();
        (void)journal_.action();
      } catch (const Error&) {
      }
    }
    std::memcpy(bytes.data(), before.data(), before.size());
  }
  EXPECT_EQ(journal_.records().size(), 1U);
}

}  // namespace
}  // namespace runrig::batch
