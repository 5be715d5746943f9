#!/usr/bin/env python3
"""Makes the inputs that the fuzzers start from, by what real Pythons write. Run where NumPy is:

    tests/fuzz/make_corpus.py [FOLDER]      (by default, corpus/ beside this file)

The files are kept in the repository, so that the tests need neither this program nor NumPy. Their names say what they
hold. The same Python makes the same files.
"""
import collections
import datetime
import hmac
import multiprocessing.managers as managers
import pathlib
import pickle
import queue
import struct
import sys

import numpy

KEY = b'the key of the fuzzers'  # as in handshake_target.cpp


def recursive():
    values = [1]
    values.append(values)
    mapping = {'values': values}
    mapping['itself'] = mapping
    inner = []
    pair = (inner, 2)
    inner.append(pair)
    return values, mapping, pair, values


def errors():
    noted = ValueError('x', 1, 2, 3)
    noted.__notes__ = ['a note']
    return [noted, KeyError('k'), OSError(2, 'No such file', 'name'), queue.Empty(), StopIteration([1]), Exception(),
            UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'bad'), ImportError('i', name='m')]


def moments():
    west = datetime.timezone(datetime.timedelta(minutes=-210), 'west')
    when = datetime.datetime(2026, 11, 29, 23, 59, 58, 987654, tzinfo=west)
    return {when: when.date(), when.time(): when.timetz(), datetime.timedelta(-1, 2, 3): datetime.timezone.utc,
            'fold': datetime.time(1, fold=1)}


def arrays():
    base = numpy.arange(6)
    return [base.reshape(2, 3).astype(code) for code in ('b1', 'u1', '>i2', '<f4', '>f8', 'c16', 'f2')] + [
        numpy.asfortranarray(base.reshape(2, 3)), base[:0].reshape(0, 3), base[:1].reshape(())]


class Proxy:
    """Written as a manager's proxy is."""
    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return managers.RebuildProxy, self.args


def proxies():
    tokens = [managers.Token('list', address, '7f') for address in ('/run/m', b'\0name', ('host', 5))]
    return tokens + [Proxy(managers.ListProxy, tokens[0], 'pickle', {}),
                     [Proxy(managers.AutoProxy, tokens[2], 'pickle', {'exposed': ('get', 'put')})] * 2]


VALUES = {
    'none': None,
    'numbers': [True, False, 0, 255, 65535, -1, 2**31, 2**63, -2**200, 0.1, -0.0, float('inf'), 1.5 - 2j],
    'text': ['', 'x' * 300, 'a\n\\u\xfc\u20ac\U0001f600', '\udcff'],
    'bytes': [b'', bytes(range(256)), bytearray(), bytearray(b'abc')],
    'containers': [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, [4, {5: 6}]), {}, {'a': {1: None}}, collections.OrderedDict(b=1)],
    'sets': [set(), {1}, frozenset(), frozenset([(2, 3), frozenset([4.0])])],
    'shared': [[1]] * 3 + [('x', (2, 3))] * 2,
    'recursive': recursive(),
    'long': [list(range(70)), {str(i): i for i in range(40)}],
    'errors': errors(),
    'moments': moments(),
    'arrays': arrays(),
    'slices': [slice(1, None, -2), slice(None), range(3), range(9, 0, -4)],
    'scalars': {numpy.int64(3): numpy.float32(0.5), numpy.bool_(True): numpy.complex64(1j), 'type': numpy.dtype('>f4')},
}

# In the order of `readers` in typed_target.cpp.
TYPED = [
    True, b'x', -7, 2**64 - 1, 0.5, 1.5 - 2j, 'text \xfc', b'bytes', 2**100, [[True], []], {'a': [1, 2], 'b': []},
    {(1, 'x')}, [None], (3, [1, None, 3]), (1.5, 2.5), (1, 'name', b'abc\0', ((True, False), (False, True)), (1.0, 2.0)),
    ((1, 'n', b'abcd', ((True, True), (True, True)), None), ((0.0, 0.0), (1.0, 1.0)), None),
    numpy.arange(6.).reshape(2, 3), [numpy.arange(3, dtype='>i4'), numpy.asfortranarray(numpy.ones((2, 2)))],
    numpy.array([True, False]), numpy.arange(4, dtype='f4'), numpy.arange(6.).reshape(2, 3),
    numpy.ones((2, 3), 'c16'), numpy.arange(3, dtype='>f4'),
    (datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc), datetime.timedelta(1)),
    datetime.timezone(datetime.timedelta(hours=1), 'x'), ('name', {'any': [1, 2.5]}),
    (datetime.date(2026, 11, 29), datetime.time(23, 59, tzinfo=datetime.timezone(datetime.timedelta(1, -60), 'x'))),
    datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc), datetime.timedelta(milliseconds=-7), datetime.date(1, 1, 1),
]


def beside(value):
    """A pickle that asks for the buffers that pickle_target.cpp has, in their order."""
    buffers = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    return data


def frame(body):
    return struct.pack('!i', len(body)) + body


def frames():
    small = pickle.dumps(['a', 'b'], 5)
    yield 'empty', b''
    yield 'one', frame(small)
    yield 'three', frame(b'') + frame(small) + frame(b'x' * 150)
    yield 'long-head', struct.pack('!iQ', -1, len(small)) + small
    yield 'cut', frame(small)[:-3]
    yield 'negative', struct.pack('!i', -5) + small
    yield 'announced', struct.pack('!iQ', -1, 2**40) + b'x'
    yield 'bad-pickle', frame(b'cos\nsystem\n(Vx\ntR.') + frame(small)


def handshakes():
    """What a peer sends: as who delivers (and is answered), and as who answers."""
    def proof(name, message):
        return hmac.new(KEY, message, name).digest()
    legacy = bytes(range(20))
    yield 'deliver-legacy', frame(b'#CHALLENGE#' + legacy) + frame(b'#WELCOME#')
    yield 'deliver-refused', frame(b'#CHALLENGE#' + legacy) + frame(b'#FAILURE#')
    for name in 'md5', 'sha256', 'sha384', 'sha3_256', 'sha3_384':
        message = b'{%s}' % name.encode() + bytes(range(40))
        yield f'deliver-{name}', frame(b'#CHALLENGE#' + message) + frame(b'#WELCOME#')
        yield f'answer-{name}', frame(b'{%s}' % name.encode() + proof(name, message))
    yield 'answer-legacy', frame(proof('md5', legacy))
    yield 'message', b'#CHALLENGE#{sha256}' + bytes(range(40))
    yield 'too-long', frame(b'#CHALLENGE#' + bytes(300))
    yield 'nothing', b''


def requests():
    """Lists of a manager's requests; an int says which object, in the order of manager_target.cpp."""
    yield 'list', [(0, 'append', (1,), {}), (0, 'extend', ([2, 3],), {}), (0, 'sort', (), {'reverse': True}),
                   (0, '__getitem__', (-1,), {}), (0, 'pop', (0,), {}), (0, '__imul__', (3,), {}), (0, 'index', (2,), {})]
    yield 'dict', [(1, '__setitem__', ('a', 1), {}), (1, 'update', ({1: 2.0},), {'b': None}), (1, 'pop', (1,), {}),
                   (1, 'setdefault', ((1, 'x'), [1]), {}), (1, 'items', (), {}), (1, 'popitem', (), {})]
    yield 'namespace', [(2, '__setattr__', ('x', 1), {}), (2, '__getattribute__', ('x',), {}), (2, '__delattr__', ('x',), {})]
    yield 'value', [(3, 'set', (7,), {}), (3, 'get', (), {}), (4, '__setitem__', (0, 9), {}), (4, '__len__', (), {})]
    yield 'queue', [(5, 'put', (1,), {}), (5, 'put', (2, True, 0.5), {}), (5, 'get', (), {'block': False}), (6, 'put', (1,), {}),
                    (6, 'task_done', (), {}), (6, 'join', (), {}), (5, 'qsize', (), {})]
    yield 'locks', [(7, 'acquire', (), {}), (7, 'release', (), {}), (8, 'acquire', (False,), {}), (9, 'acquire', (True, 0), {}),
                    (10, 'release', (), {}), (11, 'acquire', (), {}), (11, 'wait', (0.0,), {}), (11, 'notify', (3,), {}),
                    (12, 'set', (), {}), (12, 'wait', (), {}), (13, 'wait', (0.0,), {}), (13, 'reset', (), {})]
    yield 'slices', [(0, 'extend', (range(9),), {}), (0, '__getitem__', (slice(1, 7, 2),), {}),
                     (0, '__setitem__', (slice(2, 4), [1]), {}), (0, '__setitem__', (slice(None, None, -3), [1, 2, 3]), {}),
                     (0, '__delitem__', (slice(5, 0, -2),), {}), (4, '__getitem__', (slice(None),), {})]
    yield 'iterators', [(1, 'update', ({1: 2, 3: 4},), {}), (1, '__iter__', (), {}), (14, '__next__', (), {}),
                        (14, 'throw', (ValueError('x'),), {}), (0, '__reversed__', (), {}), (15, 'send', (None,), {}),
                        (15, 'close', (), {})]
    yield 'condition', [('Condition', '', (Proxy(managers.AcquirerProxy, managers.Token('Lock', '/m', '7'), 'pickle', {}),), {}),
                        (14, 'acquire', (), {}), ('Pool', '', (2,), {})]
    yield 'proxy', ('#PROXY', (('__next__',), managers.Token('Iterator', '/m', '7f')))
    yield 'create', [('list', '', ([1, 2],), {}), ('dict', '', ([(1, 2)],), {'k': 3}), ('Array', '', ('d', [1, 2.5]), {}),
                     ('Semaphore', '', (3,), {}), ('Barrier', '', (2,), {'timeout': 1.5}), ('Queue', '', (5,), {})]
    yield 'returned', ('#RETURN', [1, None])
    yield 'failed', ('#ERROR', KeyError('k'))
    yield 'told', ('#TRACEBACK', 'Traceback (most recent call last): ...')


def main():
    here = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / 'corpus')

    def write(target, name, data):
        folder = here / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    for name, value in VALUES.items():
        for protocol in range(6):
            write('pickle', f'{name}.{protocol}', pickle.dumps(value, protocol))
    for protocol in range(2, 6):
        write('pickle', f'proxies.{protocol}', pickle.dumps(proxies(), protocol))
    write('pickle', 'beside', beside([numpy.arange(6.).reshape(2, 3), numpy.arange(1.), numpy.arange(0.),
                                      pickle.PickleBuffer(bytes(16))]))
    write('pickle', 'beside-fortran', beside(numpy.asfortranarray(numpy.arange(6.).reshape(2, 3))))
    write('pickle', 'python2', b"(S'a\\x41\\n'\nT\x01\x00\x00\x00bU\x01cl.")
    write('pickle', 'python2-ordered', b'\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(]q\x02(U\x01bq\x03K\x01ee\x85q\x04Rq\x05.')
    write('pickle', 'read-only', b'\x80\x05\x96' + struct.pack('<Q', 1) + b'x' + b'\x98' * 20 + b'.')
    write('pickle', 'transposed', b'cnumpy.core.numeric\n_frombuffer\n(C\x06abcdefcnumpy\ndtype\n(Vu1\nI00\nI01\ntR'
                                  b'(I3\nV|\nNNNI-1\nI-1\nI0\ntb(I2\nI3\ntVK\n(I1\nI0\nttR.')
    for index, value in enumerate(TYPED):
        for protocol in 2, 5:
            write('typed', f'{index:02}.{protocol}', bytes([index]) + pickle.dumps(value, protocol))
    for name, data in frames():
        for how in range(8):
            write('frame', f'{name}.{how}', bytes([how]) + data)
    for name, message in requests():
        write('manager', name, pickle.dumps(message, 4))
    for name, data in handshakes():
        for options in range(8):
            write('handshake', f'{name}.{options}', bytes([options]) + data)
    total = sum(f.stat().st_size for f in here.rglob('*') if f.is_file())
    print(f'{total} bytes in {sum(1 for f in here.rglob("*") if f.is_file())} files')


if __name__ == '__main__':
    main()
