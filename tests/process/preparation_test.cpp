#include "process/preparation.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "process_support.hpp"
#include "runrig/channel/passed_descriptors.hpp"
#include "runrig/sync/error.hpp"
#include "scenes.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using detail::Preparation;
using testing::HasSubstr;
using testing::IsEmpty;

Preparation example() {
  Preparation told;
  told.entry = "process.call";
  told.method = StartMethod::forkserver;
  told.parent_pid = 4711;
  told.parent_name = "MainProcess";
  told.name = "a name\nof two lines";
  told.numbers = "1:2";
  told.authkey = {std::byte{0}, std::byte{255}};
  told.daemon = true;
  told.environment = std::string("A=1\0B=2\0", 8);
  told.payload = std::vector<std::byte>(1000, std::byte{7});
  told.descriptors = 3;
  told.log = {LogLevel::info, true};
  return told;
}

TEST(PreparationTest, ComesBackAsItWas) {
  const Preparation told = example();
  const Preparation found = Preparation::decode(told.encode());
  EXPECT_EQ(found.entry, told.entry);
  EXPECT_EQ(found.method, told.method);
  EXPECT_EQ(found.parent_pid, told.parent_pid);
  EXPECT_EQ(found.parent_name, told.parent_name);
  EXPECT_EQ(found.name, told.name);
  EXPECT_EQ(found.numbers, told.numbers);
  EXPECT_EQ(found.authkey, told.authkey);
  EXPECT_EQ(found.daemon, told.daemon);
  EXPECT_EQ(found.environment, told.environment);
  EXPECT_EQ(found.payload, told.payload);
  EXPECT_EQ(found.descriptors, told.descriptors);
  EXPECT_EQ(found.log, told.log);
}

TEST(PreparationTest, CutShortAnywhereIsAnError) {
  const auto bytes = example().encode();
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW((void)Preparation::decode(std::span(bytes).first(length)), FormatError) << length;
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_THROW((void)Preparation::decode(longer), FormatError);
}

TEST(PreparationTest, AnyByteMayBeWrongWithoutHarm) {
  const auto bytes = example().encode();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int wrong : {0x01, 0x80, 0xFF}) {
      auto damaged = bytes;
      damaged[i] ^= static_cast<std::byte>(wrong);
      try {
        (void)Preparation::decode(damaged);
      } catch (const FormatError&) {
        // As good: what must not happen is anything else.
      }
    }
  }
}

TEST(PreparationTest, FileIsToldFromAllOthers) {
  const auto bytes = example().encode();
  const UniqueFd file = detail::make_preparation_file(bytes);
  EXPECT_EQ(detail::read_preparation_file(file.get()), bytes);
  EXPECT_EQ(detail::read_preparation_file(-1), std::nullopt);
  EXPECT_EQ(detail::read_preparation_file(0), std::nullopt);
  const UniqueFd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(unsealed.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(detail::read_preparation_file(unsealed.get()), std::nullopt);
  const UniqueFd other = detail::make_preparation_file(std::as_bytes(std::span("something else")));
  EXPECT_EQ(detail::read_preparation_file(other.get()), std::nullopt);
  const UniqueFd empty = detail::make_preparation_file({});
  EXPECT_EQ(detail::read_preparation_file(empty.get()), std::nullopt);
}

TEST(PreparationTest, UnknownEntriesAreNamed) {
  EXPECT_THAT(test::thrown_text([] { (void)detail::ChildEntry::find("no.such.entry"); }), HasSubstr("no.such.entry"));
}

TEST(InitTest, TheChildsArgumentTypedByHandGetsOneLineAndExitCode2) {
  for (const auto& more : std::vector<std::vector<std::string>>{{}, {"3"}, {"--help"}}) {
    std::vector<std::string> command{"/proc/self/exe", "--runrig-child"};
    command.insert(command.end(), more.begin(), more.end());
    const auto result = test::run_command(command);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err, "/proc/self/exe: --runrig-child is for processes that the program starts itself\n");
  }
}

RUNRIG_SCENE(without_init) {
  int refused = 0;
  for (const StartMethod method : {StartMethod::spawn, StartMethod::forkserver}) {
    try {
      Process(test::with_method(method, {.name = "p"}), [] {}).start();
    } catch (const std::logic_error& error) {
      std::printf("%s\n", error.what());
      ++refused;
    }
  }
  Process process(test::with_method(StartMethod::fork), [] { std::exit(3); });
  process.start();
  process.join();
  return refused == 2 && process.exit_code() == 3 ? 4 : 5;
}

TEST(InitTest, WithoutItSpawnAndForkserverAreRefusedInWordsAndForkWorks) {
  const auto result = test::run_command(test::scene_command("without_init"));
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.out, HasSubstr("start process 'p' by spawn: this program has not called runrig::init("));
  EXPECT_THAT(result.out, HasSubstr("start process 'p' by forkserver: this program has not called"));
}

class PassedDescriptorsTest : public testing::Test {
 protected:
  PassedDescriptorsTest() {
    int ends[2];
    check_errno(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "make", "socketpair");
    first_.reset(ends[0]);
    second_.reset(ends[1]);
  }
  [[nodiscard]] bool send(std::string_view text, const std::vector<int>& descriptors) const {
    return detail::send_with_descriptors(first_.get(), std::as_bytes(std::span(text)), {}, descriptors) != -1;
  }
  UniqueFd first_;
  UniqueFd second_;
  std::array<std::byte, 16> buffer_{};
};

TEST_F(PassedDescriptorsTest, ArriveCloseOnExec) {
  ASSERT_TRUE(send("hello", {0, 1, 2}));
  const auto received = detail::receive_with_descriptors(second_.get(), buffer_);
  EXPECT_EQ(received.kind, detail::ReceivedMessage::Kind::message);
  EXPECT_EQ(received.size_bytes, 5U);
  ASSERT_EQ(received.descriptors.size(), 3U);
  for (const auto& each : received.descriptors) EXPECT_EQ(::fcntl(each.get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(PassedDescriptorsTest, MessagesThatDoNotFitAreErrorsAndLeaveNoDescriptor) {
  const std::size_t before = test::open_descriptors();
  ASSERT_TRUE(send("longer than the buffer", {0, 1}));
  const auto received = detail::receive_with_descriptors(second_.get(), buffer_);
  EXPECT_EQ(received.kind, detail::ReceivedMessage::Kind::failed);
  EXPECT_EQ(received.code, EMSGSIZE);
  EXPECT_THAT(received.descriptors, IsEmpty());
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST_F(PassedDescriptorsTest, NoRoomForThemIsAnErrorAndLeavesNoDescriptor) {
  EXPECT_EQ(test::run_in_child([&] {
              ASSERT_TRUE(send("hello", std::vector<int>(10, 0)));
              const std::size_t before = test::open_descriptors();
              const rlimit limit{before + 3, before + 3};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
              const auto received = detail::receive_with_descriptors(second_.get(), buffer_);
              EXPECT_EQ(received.kind, detail::ReceivedMessage::Kind::failed);
              EXPECT_EQ(received.code, EMFILE);
              EXPECT_EQ(test::open_descriptors(), before);
            }),
            0);
}

TEST_F(PassedDescriptorsTest, TheEndOfTheOtherSideIsToldFromErrors) {
  first_.reset();
  EXPECT_EQ(detail::receive_with_descriptors(second_.get(), buffer_).kind, detail::ReceivedMessage::Kind::end);
  EXPECT_EQ(detail::send_with_descriptors(second_.get(), std::as_bytes(std::span("x")), {}, {}), -1);
  EXPECT_EQ(errno, EPIPE) << "and no SIGPIPE";
}

}  // namespace
}  // namespace runrig
