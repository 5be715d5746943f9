#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "listener_support.hpp"
#include "python_peer.hpp"
#include "runrig/channel/listener.hpp"
#include "runrig/channel/pickle.hpp"

/// Listeners and Clients with real Python at the other end.
namespace runrig {
namespace {

using namespace std::chrono_literals;

// Python 3.11 and older know nothing but MD5.
Authentication for_python(std::string_view key) {
  Authentication result = test::with_key(key);
  result.allow_md5 = true;
  result.time_limit = 30s;
  return result;
}

// What Python reads as the address: "'/tmp/x'", "b'\\x00name'", "('localhost', 5)".
std::string literal(const Address& address) {
  switch (address.family()) {
    case Address::Family::inet:
      return "('" + address.host() + "', " + std::to_string(address.port()) + ")";
    case Address::Family::abstract_socket:
      return "'\\0" + address.path() + "'";
    case Address::Family::unix_socket:
      break;
  }
  return "'" + address.path() + "'";
}

class ListenerPythonTest : public test::AtEachFamily {};
RUNRIG_FOR_EACH_FAMILY(ListenerPythonTest);

TEST_P(ListenerPythonTest, PythonsClientComesInWithTheRightKeyOnly) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    Listener listener(address(), {.authentication = for_python("right")});
    // The connection that the program has already tells the end of each try.
    test::PythonPeer peer(python, "import multiprocessing.connection as m\nat = " + literal(listener.address()) + R"(
for key in [b'wrong', None, b'right']:
  try:
    with m.Client(at, authkey=key) as client:
      client.send({'answer': 42, 'of': key})
      if key is None:
        client.recv_bytes()   # the challenge
        client.recv_bytes()   # the end, since what was sent is no proof
      c.send('got ' + client.recv())
  except (m.AuthenticationError, EOFError, ConnectionResetError) as error:
    c.send(type(error).__name__)
)");
    EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(60s); }), ErrorKind::authentication);
    EXPECT_EQ(peer.connection().recv<std::string>(), "AuthenticationError");
    EXPECT_EQ(test::thrown_code([&] { (void)listener.accept(60s); }), ErrorKind::authentication);
    EXPECT_NE(peer.connection().recv<std::string>().find("E"), std::string::npos);
    Connection client = listener.accept(60s);
    EXPECT_EQ(client.recv().at("answer").as_int(), 42);
    client.send(std::string("it"));
    EXPECT_EQ(peer.connection().recv<std::string>(), "got it");
  }
}

TEST_P(ListenerPythonTest, PythonsListenerLetsUsInWithTheRightKeyOnly) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    Address at = address();
    test::PythonPeer peer(
        python, "import multiprocessing.connection as m\nlistener = m.Listener(" + literal(at) + R"(, authkey=b'right')
c.send(listener.address)
for i in range(3):
  try:
    with listener.accept() as client: client.send(client.recv() + 1)
  except (m.AuthenticationError, EOFError, ConnectionResetError) as error: c.send(type(error).__name__)
)");
    at = Address::from_object(peer.connection().recv());
    EXPECT_EQ(test::thrown_code([&] { Client(at, {.authentication = for_python("wrong")}); }),
              ErrorKind::authentication);
    EXPECT_EQ(peer.connection().recv<std::string>(), "AuthenticationError");
    {
      Client without(at);
      (void)without.recv_bytes();  // the challenge; what follows is no proof
      without.send(1);
      EXPECT_NE(peer.connection().recv<std::string>(), "");
    }
    Client client(at, {.authentication = for_python("right")});
    client.send(41);
    EXPECT_EQ(client.recv<int>(), 42);
  }
}

}  // namespace
}  // namespace runrig
