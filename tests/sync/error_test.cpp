#include "runrig/sync/error.hpp"

#include <gtest/gtest.h>

#include "support.hpp"

namespace runrig {
namespace {

TEST(ErrorTest, SaysWhatWasAttemptedOnWhichNameAndWhy) {
  EXPECT_STREQ(Error(std::errc::no_such_file_or_directory, "attach", "temps").what(),
               "attach 'temps': No such file or directory");
}

TEST(ErrorTest, CheckErrnoThrowsTheReasonOfTheCall) {
  EXPECT_EQ(test::thrown_code([] {
              errno = EACCES;
              check_errno(-1, "open", "x");
            }),
            std::errc::permission_denied);
  EXPECT_EQ(check_errno(3, "open", "x"), 3);
}

TEST(ErrorTest, NamedKindsAreToldApartByTypeAndByCode) {
  EXPECT_EQ(test::thrown_code([] { throw OwnerDied("counter"); }), ErrorKind::owner_died);
  EXPECT_EQ(test::thrown_code([] { throw EndOfStream("receive from", "pipe"); }), ErrorKind::end_of_stream);
  EXPECT_EQ(test::thrown_code([] { throw Empty("queue"); }), ErrorKind::empty);
  EXPECT_EQ(test::thrown_code([] { throw Full("queue"); }), ErrorKind::full);
  EXPECT_EQ(test::thrown_code([] { throw AuthenticationError("connect to", "server"); }), ErrorKind::authentication);
  EXPECT_EQ(test::thrown_code([] { throw BufferTooShort("receive", "pipe"); }), ErrorKind::buffer_too_short);
  EXPECT_STREQ(FormatError("attach", "a", "magic is wrong").what(), "attach 'a': magic is wrong");
}

}  // namespace
}  // namespace runrig
