#include "runrig/channel/listener.hpp"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "listener_support.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/poll.hpp"
#include "socket.hpp"
#include "socket_file.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

using test::with_key;

std::string unique_name(const char* what) { return test::unique_segment_name() + what; }

class ListenerTest : public test::AtEachFamily {};
RUNRIG_FOR_EACH_FAMILY(ListenerTest);

TEST_P(ListenerTest, Accept_GivesAConnectionToEachClient) {
  Listener listener(address());
  EXPECT_EQ(listener.last_accepted(), std::nullopt);
  Client first(listener.address());
  Connection to_first = listener.accept(30s);
  Client second(listener.address());
  Connection to_second = listener.accept(30s);
  first.send(1);
  second.send(2);
  EXPECT_EQ(to_second.recv<int>(), 2);
  EXPECT_EQ(to_first.recv<int>(), 1);
  to_first.send(std::string("answer"));
  EXPECT_EQ(first.recv<std::string>(), "answer");
  EXPECT_EQ(listener.last_accepted().has_value(), GetParam() == Address::Family::inet);
  EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(0s); }), ErrorKind::timeout);
}

TEST_P(ListenerTest, Authentication_LetsInWhoHasTheKeyAndNobodyElse) {
  Listener listener(address(), {.authentication = with_key("right")});
  const Address at = listener.address();
  const auto try_to_connect = [&](std::optional<Authentication> mine) {
    auto client = std::async(std::launch::async, [&at, mine] { return Client(at, {.authentication = mine}); });
    std::error_code here;
    std::optional<Connection> accepted;
    here = test::thrown_code([&] { accepted = listener.accept(30s); });
    const auto there = test::thrown_code([&] { client.get().send(5); });
    if (accepted) {
      EXPECT_EQ(accepted->recv<int>(), 5);
    }
    return std::pair(here, there);
  };
  EXPECT_EQ(try_to_connect(with_key("right")), std::pair(std::error_code(), std::error_code()));
  for (const std::size_t length : {1UL, 64UL, 100'000UL}) {
    const auto [here, there] = try_to_connect(with_key(std::string(length, 'w')));
    EXPECT_EQ(here, ErrorKind::authentication);
    EXPECT_EQ(there, ErrorKind::authentication);
  }
  EXPECT_EQ(try_to_connect(with_key("right")), std::pair(std::error_code(), std::error_code())) << "it goes on";
  EXPECT_THROW(Client(at, {.authentication = Authentication{}}), std::logic_error);
}

TEST_P(ListenerTest, ManySilentClientsKeepNobodyWaiting) {
  auto authentication = with_key("right");
  authentication.time_limit = 5s;
  Listener listener(address(), {.authentication = authentication});
  std::vector<Client> silent;
  for (int i = 0; i < 100; ++i) silent.emplace_back(listener.address());  // no key: says nothing
  auto client =
      std::async(std::launch::async, [&] { return Client(listener.address(), {.authentication = with_key("right")}); });
  Connection accepted = listener.accept(30s);  // and throws for none of those before
  Connection connected = client.get();
  connected.send(1);
  EXPECT_EQ(accepted.recv<int>(), 1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(60s); }), ErrorKind::authentication) << i;
  }
  EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(0s); }), ErrorKind::timeout);
}

TEST_P(ListenerTest, OfTooManyHandshakesTheOldestIsDropped) {
  auto patient = with_key("right");
  patient.time_limit = 1h;
  Listener listener(address(), {.authentication = patient, .most_handshakes = 3});
  std::vector<Client> silent;
  for (int i = 0; i < 4; ++i) silent.emplace_back(listener.address());
  EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(30s); }), ErrorKind::authentication);
  while (!silent[0].poll(30s)) {
  }  // the challenge, or the end behind it
  EXPECT_NO_THROW((void)silent[0].recv_bytes());
  EXPECT_EQ(test::thrown_code([&] { (void)silent[0].recv_bytes(); }), ErrorKind::end_of_stream);
  EXPECT_NO_THROW((void)silent[1].recv_bytes());
  EXPECT_FALSE(silent[1].poll(10ms)) << "the others may still prove the key";
}

// Each byte that a client may say instead of a handshake, and each place where it may leave.
TEST_P(ListenerTest, NothingThatAClientSaysEndsTheListener) {
  Listener listener(address(), {.authentication = with_key("right")});
  const std::vector<std::string> sayings{
      std::string(4, '\xff'),
      std::string("\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12),
      std::string("\xff\xff\xff\xfe", 4),
      std::string("\x7f\xff\xff\xff", 4),
      std::string("\0\0\0\0", 4),
      std::string("\0\0\1\1", 4) + std::string(257, 'x'),
      std::string("\0\0\0\x10", 4) + std::string(16, 'x'),
      std::string("\0\0\0\x28{sha256}", 12) + std::string(32, 'x'),
      "GET / HTTP/1.1\r\n\r\n",
      std::string("\0\0\0\x28{sha", 8),
      std::string("\0", 1),
      "",
  };
  for (const std::string& each : sayings) {
    {
      const Client client(listener.address());
      ASSERT_EQ(::send(client.fileno(), each.data(), each.size(), MSG_NOSIGNAL), static_cast<ssize_t>(each.size()));
    }
    EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(30s); }), ErrorKind::authentication) << each;
  }
  auto client =
      std::async(std::launch::async, [&] { return Client(listener.address(), {.authentication = with_key("right")}); });
  EXPECT_NO_THROW((void)listener.accept(30s));
  EXPECT_NO_THROW((void)client.get());
}

TEST_P(ListenerTest, ABytewiseHandshakeIsAHandshake) {
  Listener listener(address(), {.authentication = with_key("right")});
  auto [near, far] = Pipe();  // a client that speaks through somebody who passes on one byte at a time
  std::thread go_between([&, &inner = far] {
    const UniqueFd outer = detail::connect_to(listener.address(), {});
    std::array<pollfd, 2> ends{{{outer.get(), POLLIN, 0}, {inner.fileno(), POLLIN, 0}}};
    for (;;) {
      detail::poll_until(ends, Deadline::after(30s));
      char byte = 0;
      const int from = ends[0].revents != 0 ? 0 : 1;
      if (::read(ends[static_cast<std::size_t>(from)].fd, &byte, 1) != 1) return;
      if (::send(ends[static_cast<std::size_t>(1 - from)].fd, &byte, 1, MSG_NOSIGNAL) != 1) return;
    }
  });
  auto client = std::async(std::launch::async, [&, &end = near] {
    answer_challenge(end, with_key("right"));
    deliver_challenge(end, with_key("right"));
    end.send(3);
  });
  EXPECT_EQ(listener.accept(60s).recv<int>(), 3);
  EXPECT_NO_THROW(client.get());
  near.close();
  go_between.join();
}

TEST_P(ListenerTest, Stop_EndsAcceptInAnotherThread) {
  Listener listener(address());
  auto accepting = std::async(std::launch::async, [&] { (void)listener.accept(); });
  listener.stop();
  EXPECT_EQ(test::thrown_code([&] { accepting.get(); }), std::errc::operation_canceled);
  EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(); }), std::errc::operation_canceled);
}

TEST_P(ListenerTest, FiftyClientsAtOnceSomeKilledDisturbNobody) {
  Listener listener(address(), {.authentication = with_key("right")});
  std::vector<std::unique_ptr<test::Child>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<test::Child>([&, i] {
      Client client(listener.address(), {.authentication = with_key("right")});
      for (int round = 0; round < 20; ++round) {
        client.send(std::pair(i, round));
        if (client.recv<int>() != round) ::_exit(3);
        if (i % 5 == 0 && round == i / 5) ::raise(SIGKILL);
      }
    }));
  }
  std::atomic<int> failures{0};
  std::vector<std::thread> servers;
  for (int i = 0; i < 50; ++i) {
    servers.emplace_back([&failures, connection = std::make_shared<Connection>(listener.accept(60s))] {
      try {
        for (int expected = 0;; ++expected) {
          const auto [who, round] = connection->recv<std::pair<int, int>>();
          if (round != expected || who < 0 || who >= 50) ++failures;
          connection->send(round);
        }
      } catch (const Error&) {
      }
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(clients[static_cast<std::size_t>(i)]->join(60s), i % 5 == 0 ? -SIGKILL : 0);
  for (auto& each : servers) each.join();
  EXPECT_EQ(failures, 0);
}

TEST_P(ListenerTest, TwoAtOneAddressAreAnError) {
  const Listener listener(address());
  EXPECT_EQ(test::thrown_code([&] { const Listener second(listener.address()); }), std::errc::address_in_use);
}

TEST_P(ListenerTest, WithoutAListenerAClientIsRefused) {
  Address at("x", 0);
  {
    const Listener listener(address());
    at = listener.address();
  }
  EXPECT_EQ(test::thrown_code([&] { const Client client(at); }), GetParam() == Address::Family::unix_socket
                                                                     ? std::errc::no_such_file_or_directory
                                                                     : std::errc::connection_refused);
}

TEST(ListenerFileTest, ASocketHasMode0600AndIsRemovedByItsMakerIfItIsStillTheSame) {
  const test::TemporaryDirectory folder;
  const fs::path path = folder / "socket";
  {
    Listener listener(path.string());
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    EXPECT_EQ(test::run_in_child([&] { listener.close(); }), 0);
    EXPECT_TRUE(fs::exists(path)) << "a forked child is not its maker";
  }
  EXPECT_FALSE(fs::exists(path));
  {
    const Listener listener(path.string());
    fs::remove(path);
    std::ofstream(path) << "somebody else's";
  }
  EXPECT_TRUE(fs::is_regular_file(path));
  EXPECT_EQ(test::thrown_code([&] { const Listener listener(path.string()); }), std::errc::address_in_use);
  EXPECT_TRUE(fs::is_regular_file(path));
}

TEST(ListenerFileTest, WithoutAnAddressItIsInAFolderOfItsOwnThatGoesWithIt) {
  std::string path;
  {
    Listener listener{ListenerOptions{}};
    path = listener.address().path();
    EXPECT_EQ(fs::status(fs::path(path).parent_path()).permissions(), fs::perms::owner_all);
    const Client client(listener.address());
    (void)listener.accept(30s);
  }
  EXPECT_FALSE(fs::exists(fs::path(path).parent_path()));
}

// A folder for temporary files of its own, since each listener of this user, in other tests as well, sweeps its own.
class TemporaryFolderOfOurs {
 public:
  TemporaryFolderOfOurs() {
    if (const char* const told = std::getenv("TMPDIR")) former_ = told;
    ::setenv("TMPDIR", folder_.path().c_str(), 1);
  }
  TemporaryFolderOfOurs(const TemporaryFolderOfOurs&) = delete;
  TemporaryFolderOfOurs& operator=(const TemporaryFolderOfOurs&) = delete;
  ~TemporaryFolderOfOurs() { former_ ? ::setenv("TMPDIR", former_->c_str(), 1) : ::unsetenv("TMPDIR"); }

 private:
  test::TemporaryDirectory folder_;
  std::optional<std::string> former_;
};

TEST(ListenerFileTest, TheFolderOfAKilledListenerGoesWithTheNextSweepAndNoOther) {
  const TemporaryFolderOfOurs ours;
  const Listener living{ListenerOptions{}};
  const test::TemporaryDirectory folder;
  const auto note = folder / "note";
  test::Child child([&] {
    const Listener listener{ListenerOptions{}};
    std::ofstream(note.string() + ".new") << listener.address().path();
    fs::rename(note.string() + ".new", note);
    std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(test::eventually([&] { return fs::exists(note); }));
  std::string path;
  std::ifstream(note) >> path;
  EXPECT_TRUE(fs::exists(path));
  (void)detail::sweep_socket_folders();
  EXPECT_TRUE(fs::exists(path)) << "it is in use";
  child.signal(SIGKILL);
  EXPECT_EQ(child.join(), -SIGKILL);
  EXPECT_GE(detail::sweep_socket_folders(), 1);
  EXPECT_FALSE(fs::exists(fs::path(path).parent_path()));
  EXPECT_TRUE(fs::exists(living.address().path()));
}

TEST(ListenerUserTest, ProcessesOfOtherUsersAreRefusedAtBothEnds) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
  constexpr uid_t nobody = 65534;
  // Abstract, since nothing else would even let them try.
  const Address at = Address::abstract(unique_name("-user"));
  {
    Listener listener(at);
    test::Child child([&] {
      ASSERT_EQ(::setuid(nobody), 0);
      Client client(at);
      EXPECT_EQ(test::thrown_code([&] { (void)client.recv(); }), ErrorKind::end_of_stream);
    });
    EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(30s); }), ErrorKind::authentication);
    EXPECT_EQ(child.join(), 0);
  }
  Listener open(at, {.any_user = true});
  const test::Child child([&] {
    ASSERT_EQ(::setuid(nobody), 0);
    Client(at).send(1);
  });
  EXPECT_EQ(open.accept(30s).recv<int>(), 1);
  const Address theirs = Address::abstract(unique_name("-theirs"));
  const test::Child impostor([&] {
    ASSERT_EQ(::setuid(nobody), 0);
    Listener listener(theirs, {.any_user = true});
    std::this_thread::sleep_for(60s);
  });
  std::error_code code;
  EXPECT_TRUE(test::eventually([&] {
    code = test::thrown_code([&] { const Client client(theirs); });
    return code != std::errc::connection_refused;
  }));
  EXPECT_EQ(code, ErrorKind::authentication);
}

TEST(ClientTest, ConnectTimeout_EndsTheWaitForAFullBacklog) {
  const Address at = Address::abstract(unique_name("-full"));
  const Listener listener(at, {.backlog = 0});
  std::vector<Client> waiting;
  const auto code = test::thrown_code([&] {
    for (int i = 0; i < 100; ++i) waiting.emplace_back(at, ClientOptions{.connect_timeout = 50ms});
  });
  EXPECT_EQ(code, ErrorKind::timeout);
}

TEST(ClientTest, WhatCannotBeConnectedToIsOneLine) {
  EXPECT_EQ(test::thrown_code([] { Client(Address("no.such.host.invalid", 1)); }), std::errc::address_not_available);
  EXPECT_EQ(test::thrown_code([] { Client(Address("/no/such/socket")); }), std::errc::no_such_file_or_directory);
  const auto text = test::thrown_text([] { Client(Address("/no/such/socket")); });
  EXPECT_EQ(text, "connect to '/no/such/socket': No such file or directory");
}

}  // namespace
}  // namespace runrig
