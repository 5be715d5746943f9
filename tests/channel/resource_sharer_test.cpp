#include "runrig/channel/resource_sharer.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "listener_support.hpp"
#include "python_peer.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/channel/send_handle.hpp"
#include "runrig/sync/error.hpp"
#include "samples.hpp"
#include "support.hpp"

// Descriptors that wait in one process to be fetched by others, and what says where they are.
namespace runrig {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using pickle::Object;
using pickle::SharedConnection;
using pickle::SharedHandle;
using pickle::test_samples::bytes_of;
using test::with_key;

ClientOptions key_of_client(std::string_view key = "key") { return {.authentication = with_key(key)}; }

TEST(ResourceSharerTest, AConnectionIsFetchedThroughAnyMessage) {
  ResourceSharer sharer(with_key("key"));
  auto [first, second] = Pipe();
  auto [reading, writing] = Pipe(Direction::receive);  // takes no descriptors
  writing.send(Object::list({sharer.share(second), "beside it"}));
  second.close();
  EXPECT_EQ(sharer.size(), 1U);
  const Object message = reading.recv();
  Connection fetched = fetch_connection(message.at(std::size_t{0}).as_connection(), key_of_client());
  EXPECT_EQ(sharer.size(), 0U);
  EXPECT_EQ(fetched.direction(), Direction::duplex);
  EXPECT_NE(::fcntl(fetched.fileno(), F_GETFD) & FD_CLOEXEC, 0);
  fetched.send(5);
  EXPECT_EQ(first.recv<int>(), 5);
  fetched.close();
  EXPECT_THROW((void)first.recv(), EndOfStream) << "the sharer has none left";
}

TEST(ResourceSharerTest, AnEndKeepsItsDirection) {
  ResourceSharer sharer(with_key("key"));
  auto [reading, writing] = Pipe(Direction::receive);
  const SharedConnection shared_reading = sharer.share(reading);
  const SharedConnection shared_writing = sharer.share(writing);
  EXPECT_TRUE(shared_reading.readable && !shared_reading.writable);
  EXPECT_TRUE(!shared_writing.readable && shared_writing.writable);
  EXPECT_EQ(fetch_connection(shared_reading, key_of_client()).direction(), Direction::receive);
  EXPECT_EQ(fetch_connection(shared_writing, key_of_client()).direction(), Direction::send);
}

TEST(ResourceSharerTest, AnyDescriptorCanBeShared) {
  ResourceSharer sharer(with_key("key"));
  const test::TemporaryDirectory folder;
  UniqueFd file(::open((folder / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  const SharedHandle shared = sharer.share(file.get());
  const UniqueFd fetched = fetch_handle(shared, key_of_client());
  struct stat of_file {};
  struct stat of_fetched {};
  ASSERT_EQ(::fstat(file.get(), &of_file), 0);
  ASSERT_EQ(::fstat(fetched.get(), &of_fetched), 0);
  EXPECT_EQ(of_file.st_ino, of_fetched.st_ino);
  EXPECT_EQ(test::thrown_code([&] { (void)fetch_connection({sharer.share(file.get())}, key_of_client()); }),
            std::errc::invalid_argument)
      << "a file is no connection";
  EXPECT_EQ(test::thrown_code([&] { (void)sharer.share(-1); }), std::errc::bad_file_descriptor);
  EXPECT_THROW((void)sharer.share(Connection()), std::logic_error);
}

TEST(ResourceSharerTest, WhatWasFetchedOrNeverWasIsTheEndOfTheStream) {
  ResourceSharer sharer(with_key("key"));
  const auto pipe = Pipe();
  const SharedConnection shared = sharer.share(pipe.first);
  SharedConnection other = shared;
  other.handle.key += 1;
  EXPECT_THROW((void)fetch_connection(other, key_of_client()), EndOfStream);
  (void)fetch_connection(shared, key_of_client());
  EXPECT_THROW((void)fetch_connection(shared, key_of_client()), EndOfStream);
}

TEST(ResourceSharerTest, WhoHasNotTheKeyGetsNothing) {
  ResourceSharer sharer(with_key("key"));
  const auto pipe = Pipe();
  const SharedConnection shared = sharer.share(pipe.first);
  EXPECT_THROW((void)fetch_connection(shared, key_of_client("another")), AuthenticationError);
  EXPECT_THROW((void)fetch_connection(shared, {}, 10s), Error);
  EXPECT_EQ(sharer.size(), 1U);
  (void)fetch_connection(shared, key_of_client());
}

TEST(ResourceSharerTest, WhatIsNoRequestHarmsNobody) {
  Authentication authentication = with_key("key");
  authentication.time_limit = 200ms;
  ResourceSharer sharer(authentication);
  const auto pipe = Pipe();
  const SharedConnection shared = sharer.share(pipe.first);
  const Client silent(sharer.address(), key_of_client());
  for (const auto& message : {dumps(Object()), dumps(Object::tuple({"1", 2})), dumps(Object::tuple({1})),
                              std::vector<std::byte>(3, std::byte{7}), std::vector<std::byte>(5000, std::byte{7})}) {
    Client client(sharer.address(), key_of_client());
    client.send_bytes(message);
    EXPECT_THROW((void)recv_handle(client, 30s), Error);
  }
  EXPECT_EQ(sharer.size(), 1U);
  (void)fetch_connection(shared, key_of_client(), 30s);
}

TEST(ResourceSharerTest, WhoFetchesFromASilentProcessGivesUp) {
  const Listener listener;  // which never accepts
  EXPECT_THROW((void)fetch_handle({listener.address(), 1}, {.authentication = with_key("key")}, 50ms), TimeoutError);
  auto [first, second] = Pipe();
  EXPECT_THROW((void)recv_handle(first, 20ms), TimeoutError);
}

TEST(ResourceSharerTest, ItsEndWaitsForNobodyWhoAsksForNothing) {
  Authentication authentication = with_key("key");
  authentication.time_limit = forever;
  auto sharer = std::make_unique<ResourceSharer>(authentication);
  Client silent(sharer->address(), key_of_client());
  std::this_thread::sleep_for(20ms);  // by then the thread waits for the request; before, it would not begin to
  sharer.reset();
  EXPECT_THROW((void)silent.recv(), EndOfStream);
}

TEST(ResourceSharerTest, ItsEndClosesWhatNobodyFetched) {
  auto [first, second] = Pipe();
  SharedConnection shared;
  {
    ResourceSharer sharer(with_key("key"));
    shared = sharer.share(second);
    second.close();
    EXPECT_FALSE(first.poll());
  }
  EXPECT_THROW((void)first.recv(), EndOfStream);
  EXPECT_EQ(test::thrown_code([&] { (void)fetch_connection(shared, key_of_client()); }),
            std::errc::no_such_file_or_directory);
  EXPECT_FALSE(std::filesystem::exists(shared.handle.sharer.path()));
}

TEST(ResourceSharerTest, AForkedChildHasNoneAndLeavesItsParentsAlone) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer ends the fork of a process with threads";
#endif
  ResourceSharer sharer(with_key("key"));
  const auto pipe = Pipe();
  const SharedConnection shared = sharer.share(pipe.first);
  auto* const in_child = &sharer;
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_THROW((void)in_child->share(0), std::logic_error);
              EXPECT_THROW((void)in_child->size(), std::logic_error);
              std::destroy_at(in_child);
            }),
            0);
  (void)fetch_connection(shared, key_of_client());
}

TEST(ResourceSharerTest, ManyAtOnceEachGetTheirOwn) {
  ResourceSharer sharer(with_key("key"));
  constexpr int count = 50;
  std::vector<Pipe> pipes(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    auto& pipe = pipes[static_cast<std::size_t>(i)];
    threads.emplace_back([&, i] {
      const SharedConnection shared = sharer.share(pipe.second);
      fetch_connection(shared, key_of_client(), 60s).send(i);
    });
  }
  for (auto& each : threads) each.join();
  for (int i = 0; i < count; ++i) EXPECT_EQ(pipes[static_cast<std::size_t>(i)].first.recv<int>(), i);
  EXPECT_EQ(sharer.size(), 0U);
}

TEST(SharedHandleTest, ComesBackFromEachProtocol) {
  for (const Address& sharer : {Address("/run/sharer"), Address("/run/caf\xe9"), Address::abstract("sharer")}) {
    for (int protocol = 2; protocol <= 5; ++protocol) {
      const SharedHandle handle{sharer, INT64_MAX};
      const SharedConnection reading{{sharer, 7}, true, false};
      const Object all = Object::list({handle, reading, SharedConnection{handle, false, true}, handle});
      const Object read = pickle::loads(pickle::dumps(all, protocol));
      EXPECT_EQ(read, all);
      EXPECT_EQ(read.at(std::size_t{0}).as_shared_handle(), handle);
      EXPECT_EQ(read.at(std::size_t{1}).as_connection(), reading);
    }
  }
  EXPECT_NE(Object(SharedHandle{"/a", 1}), Object(SharedHandle{"/a", 2}));
  EXPECT_NE(Object(SharedConnection{{"/a", 1}}), Object(SharedConnection{{"/a", 1}, true, false}));
  EXPECT_THROW(Object::set({Object(SharedHandle{"/a", 1})}), std::logic_error) << "no key";
}

TEST(SharedHandleTest, WhatNoSharerHasIsTheCallersMistake) {
  EXPECT_THROW((void)Object(SharedHandle{"/a", 0}), std::logic_error);
  EXPECT_THROW((void)Object(SharedHandle{Address("localhost", 5), 1}), std::logic_error);
  EXPECT_THROW((void)Object(SharedConnection{{"/a", 1}, false, false}), std::logic_error);
}

TEST(SharedHandleTest, WhatPythonDoesNotWriteIsRefused) {
  const std::string head = "\x80\x02";
  const std::string made = "cmultiprocessing.resource_sharer\nDupFd\n)\x81";
  // A dict of '_id' and (address, key).
  const auto state = [](const std::string& address, const std::string& key) {
    return "}U\x03_id" + address + key + "\x86sb";
  };
  const std::string good = made + state("U\x02/m", "K\x01");
  const auto call = [](const std::string& arguments) {
    return "cmultiprocessing.connection\nrebuild_connection\n" + arguments + "R";
  };
  EXPECT_EQ(pickle::loads(bytes_of(head + good + ".")).as_shared_handle(), (SharedHandle{"/m", 1}));
  EXPECT_EQ(pickle::loads(bytes_of(head + call(good + "\x88\x89\x87") + ".")).as_connection(),
            (SharedConnection{{"/m", 1}, true, false}));
  for (const std::string& bad : {
           made,                                                       // without state
           "]" + made + "a",                                           // nor in a list
           good + state("U\x02/m", "K\x01"),                           // with two
           made + state("U\x02/m", "K"s + '\0'),                       // number 0
           made + state("U\x02/m", "J\xff\xff\xff\xff"),               // and -1
           made + state("U\x02/m", "U\x01x"),                          // none
           made + state("U\x09localhostK\x05\x86", "K\x01"),           // in another machine, as it may be
           made + state("K\x05", "K\x01"),                             // nowhere
           made + "}b",                                                // a state that says nothing
           made + "}U\x03_idU\x02/mK\x01\x86sU\x01xNsb",               // and too much
           made + "Nb",                                                // or is no dict
           "cmultiprocessing.resource_sharer\nDupFd\n)R"s,             // called
           "cmultiprocessing.resource_sharer\nDupFd\nK\x01\x85\x81"s,  // with arguments
           "cmultiprocessing.resource_sharer\nstop\n)R"s,              // what is not known
           "cmultiprocessing.connection\nClient\nU\x02/m\x85R"s,       // nor this
           "cmultiprocessing.connection\nrebuild_connection\n)\x81"s,  // a function is no class
           call(made + "\x88\x88\x87"),                                // of a handle without state
           call(good + "\x88\x86"),                                    // two arguments
           call(good + "\x89\x89\x87"),                                // neither way
           call(good + "K\x01K\x01\x87"),                              // numbers
           call("K\x05\x88\x88\x87"),                                  // of a descriptor's number
       }) {
    EXPECT_EQ(test::thrown_code([&] { (void)pickle::loads(bytes_of(head + bad + ".")); }), ErrorKind::format) << bad;
  }
}

// Python 3.11 and older know nothing but MD5.
Authentication for_python(std::string_view key) {
  Authentication result = with_key(key);
  result.allow_md5 = true;
  result.time_limit = 30s;
  return result;
}

TEST(ResourceSharerPythonTest, ConnectionsThatPythonSendsAreFetched) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    test::PythonPeer peer(python, R"(
import multiprocessing, os, threading
from multiprocessing.reduction import DupFd
def hook(*error):   # the sharer's thread tells of each that it refuses
  if threading.current_thread() is threading.main_thread(): sys.__excepthook__(*error)
sys.excepthook = hook
multiprocessing.current_process().authkey = b'key'
mine, yours = multiprocessing.Pipe()
receiving, sending = multiprocessing.Pipe(duplex=False)
read, write = os.pipe()
c.send({'both': yours, 'ways': [receiving, sending], 'file': DupFd(write)})
yours.close(); os.close(write)
mine.send(mine.recv() + 1)
assert mine.recv() == 'again'
c.send(os.read(read, 100))
c.recv()
)");
    const Object message = peer.connection().recv();
    const ClientOptions options{.authentication = for_python("key")};
    EXPECT_THROW((void)fetch_connection(message.at("both").as_connection(), {.authentication = for_python("other")}),
                 AuthenticationError);
    Connection both = fetch_connection(message.at("both").as_connection(), options, 60s);
    EXPECT_THROW((void)fetch_connection(message.at("both").as_connection(), options, 60s), EndOfStream) << "only once";
    both.send(41);
    EXPECT_EQ(both.recv<int>(), 42);
    both.send("again");
    Connection receiving = fetch_connection(message.at("ways").at(std::size_t{0}).as_connection(), options, 60s);
    Connection sending = fetch_connection(message.at("ways").at(std::size_t{1}).as_connection(), options, 60s);
    EXPECT_EQ(receiving.direction(), Direction::receive);
    EXPECT_EQ(sending.direction(), Direction::send);
    sending.send(7);
    EXPECT_EQ(receiving.recv<int>(), 7);
    UniqueFd file = fetch_handle(message.at("file").as_shared_handle(), options, 60s);
    EXPECT_EQ(::write(file.get(), "by hand", 7), 7);
    file.reset();
    EXPECT_EQ(peer.connection().recv<std::vector<std::byte>>().size(), 7U);
    peer.connection().send(Object());
  }
}

TEST(ResourceSharerPythonTest, ConnectionsOfOursArriveAtPythonAsItsOwn) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    ResourceSharer sharer(for_python("key"));
    test::PythonPeer peer(python, R"(
import multiprocessing, os
multiprocessing.current_process().authkey = b'key'
message = c.recv()
both, receiving = message['both'], message['receiving']
assert type(both) is Connection and both.readable and both.writable
assert receiving.readable and not receiving.writable
both.send(both.recv() + 1)
both.close()
assert receiving.recv() == [1, 2]
fd = message['file'].detach()
os.write(fd, b'by Python')
)");
    auto [mine, yours] = Pipe();
    auto [receiving, sending] = Pipe(Direction::receive);
    auto [file, write] = Pipe(Direction::receive);
    peer.connection().send(Object::dict({{"both", sharer.share(yours)},
                                         {"receiving", sharer.share(receiving)},
                                         {"file", sharer.share(write.fileno())}}));
    yours.close();
    write.close();
    mine.send(41);
    EXPECT_EQ(mine.recv<int>(), 42);
    EXPECT_THROW((void)mine.recv(), EndOfStream);
    sending.send(std::vector{1, 2});
    std::array<char, 100> bytes{};
    EXPECT_EQ(::read(file.fileno(), bytes.data(), bytes.size()), 9);
    EXPECT_EQ(sharer.size(), 0U);
  }
}

// What one Python sends to another by way of us.
TEST(ResourceSharerPythonTest, WhatIsSentOnIsFetchedFromWhereItLies) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    test::PythonPeer from(python, R"(
import multiprocessing
multiprocessing.current_process().authkey = b'key'
mine, yours = multiprocessing.Pipe()
c.send(yours)
yours.close()
assert mine.recv() == 'hello'
)");
    test::PythonPeer to(python, R"(
import multiprocessing
multiprocessing.current_process().authkey = b'key'
c.recv().send('hello')
)");
    to.connection().send(from.connection().recv());
  }
}

}  // namespace
}  // namespace runrig
