// The benchmark program: one saga of three no-op TCC steps, so many in flight, in a closed loop. Prints one JSON line. With --participants http the saga
// is a definition in JSON, started over REST with wait, and its steps are URLs of a separate process (participant.mjs, by node).
//
//   dotnet run -c Release --project tests/Sagas.Benchmarks -- book-trip --store journal --bus memory --inflight 512 --seconds 15
//       [--participants bus|http] [--shape parallel|sequential] [--mode ok|refuse] [--barrier memory|file] [--warmup 5] [--path DIR] [--workers N]
// With --bus rabbitmq it starts a rabbitmq-server of its own, or uses the one at --rabbitmq URL.
// With --store redis it starts a redis-server of its own (--fsync says when that syncs its file), or uses the one at --redis HOST:PORT.

//
// The simulator: the production engine in simulated worlds whose disk, bus, clocks and processes fail. Exits with 1 when a promise is broken.
//
//   dotnet run -c Release --project tests/Sagas.Benchmarks -- simulate [--sagas-total 1000000] [--seconds 60] [--seed N] [--seeds N] [--sagas N] [--without Drop,Pause] [--twice true] [--quiet true]

using Sagas.Benchmarks;

if (args is ["simulate", ..]) return Simulate.Run(args[1..]);

if (args is not ["book-trip", ..])
{
    Console.Error.WriteLine("usage: book-trip [--store journal|memory|redis] [--redis HOST:PORT] [--fsync always|everysec|no] [--participants bus|http] [--bus memory|rabbitmq] [--rabbitmq URL] [--inflight N] [--seconds S] [--shape parallel|sequential] [--mode ok|refuse] [--barrier memory|file] [--warmup S] [--path DIR] [--workers N]");
    return 2;
}
return await BookTrip.RunAsync(Options.Parse(args[1..]));
