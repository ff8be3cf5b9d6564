using System.Diagnostics;
using System.Net;
using System.Runtime.InteropServices;
using System.Text.Json;
using StackExchange.Redis;

namespace Orders;

/// <summary>All of it by one command: starts the servers and the four processes, places orders over REST, holds the services' books against the sagas, and stops what it started.</summary>
public sealed class Demo : IDisposable
{
    private readonly int _orders, _perSecond, _port;
    private readonly bool _kills;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Child> _servers = [], _services = [];
    private readonly HttpClient _http = new(new SocketsHttpHandler { MaxConnectionsPerServer = 1000 }) { Timeout = TimeSpan.FromSeconds(90) };
    private readonly List<(string Status, string? Code, double Milliseconds)> _ended = [];
    private string _data = "", _redis = "";

    private Demo(string[] args)
    {
        var settings = new ConfigurationBuilder().AddCommandLine([.. args.Where(arg => arg != "--kill")]).Build();
        (_orders, _perSecond, _port, _kills) = (settings.GetValue("orders", 500), Math.Max(1, settings.GetValue("rate", 50)), settings.GetValue("port", 5080), args.Contains("--kill"));
    }

    /// <summary>Runs until the orders have ended and somebody presses Ctrl-C. Without a terminal, at the end of input, it waits for nobody. Returns the exit code.</summary>
    public static async Task<int> RunAsync(string[] args)
    {
        if (OperatingSystem.IsWindows() || PrivateServers.Missing().ToArray() is { Length: > 0 })
        {
            Console.Error.WriteLine(OperatingSystem.IsWindows() ? "Orders starts private servers on Linux and macOS." : $"Orders needs {string.Join(" and ", PrivateServers.Missing())}, not found on the PATH. On Debian and Ubuntu:\n  sudo apt-get install -y redis-server rabbitmq-server");
            Console.Error.WriteLine("With Docker instead: docker compose -f examples/Orders/compose.yaml up --build");
            return 1;
        }
        using var demo = new Demo(args);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, demo.Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, demo.Stop);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, demo.Stop);
        demo._data = Directory.CreateTempSubdirectory("orders-").FullName;
        try
        {
            await demo.StartAsync();
            var addsUp = await demo.PlaceAsync() && await demo.AuditAsync();
            await demo.StopAskedAsync();
            return addsUp ? 0 : 1;
        }
        catch (OperationCanceledException) when (demo._stop.IsCancellationRequested)
        {
            return demo._services.Concat(demo._servers).Any(child => child.Lost.IsCompleted) ? 1 : 0;     // or else it was asked to stop
        }
        catch (Exception e) when (e is InvalidOperationException or HttpRequestException or RedisException or TimeoutException)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
        finally
        {
            await demo.StopAllAsync();
        }
    }

    private async Task StartAsync()
    {
        Console.WriteLine($"Starting redis-server and rabbitmq-server on free ports of 127.0.0.1, with their data in {_data}. RabbitMQ takes some seconds.");
        var redis = AgainAsync(() => PrivateServers.StartRedisAsync(_data, child => StartAsync(_servers, child)));
        var rabbit = AgainAsync(() => PrivateServers.StartRabbitMqAsync(_data, child => StartAsync(_servers, child)));
        _redis = await redis.WaitAsync(_stop.Token);
        var amqp = await rabbit.WaitAsync(_stop.Token);

        var url = $"http://127.0.0.1:{(_port > 0 ? _port : PrivateServers.FreePorts(1)[0])}";
        _http.BaseAddress = new Uri(url);
        // What the compose file says likewise.
        var environment = new Dictionary<string, string> { ["Sagas__Redis__Connection"] = _redis, ["Sagas__RabbitMq__Url"] = amqp };
        await Task.WhenAll(ServiceAsync("engine", "--urls", url), ServiceAsync("inventory"), ServiceAsync("payment"), ServiceAsync("shipping", "--data", Path.Combine(_data, "shipping"))).WaitAsync(_stop.Token);

        Console.WriteLine($$"""
            {{string.Join("\n", _services.Concat(_servers).Select(child => $"  {child.Name,-16} (pid {child.Pid})"))}}

            Orders is at {{url}}   (open it: the dashboard)
            Start one by hand; a unicorn is out of stock, the customer "broke" has no money, and to "Atlantis" nobody ships:
              curl -X POST '{{url}}/api/v1/definitions/place-order/sagas?id=mine-1&wait=10' -H 'Content-Type: application/json' -d '{"customer":"ann","item":"lamp","quantity":1,"total":20,"address":"Paris"}'
            Kill one, and see its orders wait and go on when it is back (--kill does it for you):
              kill -9 {{_services.First(child => child.Name == "payment").Pid}}

            """);

        Task ServiceAsync(string name, params string[] arguments)
        {
            // The dotnet that runs this one.
            var dotnet = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../../dotnet"));
            var program = Path.Combine(AppContext.BaseDirectory, $"Orders.{char.ToUpperInvariant(name[0])}{name[1..]}.dll");
            return StartAsync(_services, new Child(name, dotnet, [program, .. arguments], $"{name} is ready", environment));
        }

        async Task<T> AgainAsync<T>(Func<Task<T>> start)
        {
            for (var attempt = 1; ; attempt++)
            {
                try
                {
                    return await start();
                }
                catch (InvalidOperationException) when (attempt < 3 && !_stop.IsCancellationRequested)
                {
                    // Somebody took the port meanwhile.
                }
            }
        }
    }

    /// <summary>Starts a child, known from the first moment to what stops them.</summary>
    private async Task StartAsync(List<Child> children, Child child)
    {
        lock (_stop)
        {
            _stop.Token.ThrowIfCancellationRequested();
            children.Add(child);
        }
        try
        {
            await child.StartAsync();
            _ = child.Lost.ContinueWith(_ => _stop.Cancel(), TaskScheduler.Default);
        }
        catch
        {
            lock (_stop) children.Remove(child);
            throw;
        }
    }

    /// <summary>Places the orders at an even rate and says each second how they stand.</summary>
    private async Task<bool> PlaceAsync()
    {
        if (_orders <= 0) return true;
        var (random, clock, begun, placed) = (new Random(1), Stopwatch.StartNew(), 0, new List<Task>());
        await PlaceAsync("order-0", new Order("ann", "lamp", 1, 20, "Paris"));
        Console.WriteLine($"The first order took {_ended[0].Milliseconds:0} ms, and found everybody at work.");
        _ended.Clear();
        clock.Restart();
        var killAt = _kills ? _orders / 2 : int.MaxValue;
        using var tick = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        for (var lastLine = TimeSpan.Zero; !(begun == _orders && placed.TrueForAll(order => order.IsCompleted)); await tick.WaitForNextTickAsync(_stop.Token))
        {
            for (var due = Math.Min(_orders, (int)(clock.Elapsed.TotalSeconds * _perSecond)); begun < due;)
            {
                placed.Add(PlaceAsync($"order-{++begun}", Any(begun, random)));
                if (begun == killAt) Kill(_services.First(child => child.Name == "payment"));
            }
            if (clock.Elapsed - lastLine < TimeSpan.FromSeconds(1)) continue;
            lastLine = clock.Elapsed;
            lock (_ended)
                Console.WriteLine($"  {lastLine.TotalSeconds,3:0} s: {begun} of {_orders} orders placed, {_ended.Count(order => order.Status == "Completed")} completed, {_ended.Count(order => order.Status == "Compensated")} compensated, {begun - _ended.Count} under way");
        }
        await Task.WhenAll(placed);
        var times = _ended.Select(order => order.Milliseconds).Order().ToArray();
        Console.WriteLine($"{_orders} orders in {clock.Elapsed.TotalSeconds:0.0} s: {Counted(_ended.Select(order => order.Status.ToLowerInvariant()))}; half of them within {times[times.Length / 2]:0} ms, all within {times[^1]:0} ms");
        Console.WriteLine($"  why compensated: {Counted(_ended.Where(order => order.Code is not null).Select(order => order.Code!))}");
        return true;
    }

    private static void Kill(Child child)
    {
        Console.WriteLine($"kill -9 {child.Pid}   ({child.Name})");
        child.Signal("KILL");
    }

    /// <summary>Places one and waits for its end. The same id again is the same order, so what is unknown is asked again.</summary>
    private async Task PlaceAsync(string id, Order order)
    {
        for (var clock = Stopwatch.StartNew(); ; await Task.Delay(TimeSpan.FromMilliseconds(500), _stop.Token))
        {
            try
            {
                using var answer = await _http.PostAsJsonAsync($"/api/v1/definitions/place-order/sagas?id={id}&wait=60", order, _stop.Token);
                if (answer.StatusCode == HttpStatusCode.OK)
                {
                    var saga = await answer.Content.ReadFromJsonAsync<JsonElement>(_stop.Token);
                    var code = saga.GetProperty("error") is { ValueKind: JsonValueKind.Object } error ? error.GetProperty("code").GetString() : null;
                    lock (_ended) _ended.Add((saga.GetProperty("status").GetString()!, code, clock.Elapsed.TotalMilliseconds));
                    return;
                }
                if (answer.StatusCode is not (HttpStatusCode.Accepted or HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable))
                    throw new InvalidOperationException($"The engine did not take {id}: {await answer.Content.ReadAsStringAsync(_stop.Token)}");
            }
            catch (Exception e) when (IsAway(e))
            {
                // The engine was killed; it will be back.
            }
        }
    }

    private bool IsAway(Exception e) => e is HttpRequestException || e is OperationCanceledException && !_stop.IsCancellationRequested;

    /// <summary>Some order or other. One in ten is for a unicorn, one in ten of somebody who is broke, and one in ten is to go to Atlantis.</summary>
    private static Order Any(int number, Random random)
    {
        var quantity = random.Next(1, 4);
        return new Order($"customer-{random.Next(40)}", $"item-{random.Next(25)}", quantity, quantity * 10, "Paris") switch
        {
            var order when number % 10 == 3 => order with { Item = "unicorn" },
            var order when number % 10 == 6 => order with { Customer = "broke" },
            var order when number % 10 == 9 => order with { Address = "Atlantis" },
            var order => order,
        };
    }

    /// <summary>Whether exactly the completed orders' goods are sold, money is taken and parcels are sent, and everything else lies where it was.</summary>
    private async Task<bool> AuditAsync()
    {
        var completed = await CompletedAsync();
        using var redis = await ConnectionMultiplexer.ConnectAsync(_redis);
        var (books, faults) = (redis.GetDatabase(), new List<string>());
        await HoldAsync("inventory", Inventory.Opening);
        await HoldAsync("payment", Payment.Opening);
        var parcels = new DirectoryInfo(Path.Combine(_data, "shipping", "parcels")) is { Exists: true } sent ? sent.GetFiles().Select(file => Uri.UnescapeDataString(file.Name)).ToArray() : [];
        Compare("parcels", parcels);
        Console.WriteLine($"  {parcels.Length} parcels were sent");
        foreach (var fault in faults.Take(20)) Console.WriteLine($"  FAULT {fault}");
        Console.WriteLine(faults.Count == 0 ? "Everything adds up." : $"It does not add up: {faults.Count} faults.");
        return faults.Count == 0;

        async Task HoldAsync(string service, Func<string, int> opening)
        {
            var left = (await books.HashGetAllAsync($"{service}:left")).ToDictionary(entry => (string)entry.Name!, entry => (int)entry.Value);
            foreach (var entry in await books.HashGetAllAsync($"{service}:held")) faults.Add($"{service}: {entry.Value} is still held for {entry.Name}");
            var taken = (await books.HashGetAllAsync($"{service}:taken")).ToDictionary(entry => (string)entry.Name!, entry => JsonSerializer.Deserialize<JsonElement>((string)entry.Value!));
            Compare($"{service}:taken", taken.Keys);
            foreach (var (name, has) in left)
            {
                var gone = taken.Values.Where(entry => entry.GetProperty("thing").GetString() == name).Sum(entry => entry.GetProperty("amount").GetInt32());
                if (has + gone != opening(name)) faults.Add($"{service}: of {opening(name)} {name} had, {has} are left and {gone} are taken");
            }
            Console.WriteLine($"  {service}: {left.Keys.Sum(opening)} at first = {left.Values.Sum()} left + {taken.Values.Sum(entry => entry.GetProperty("amount").GetInt32())} taken, for {taken.Count} orders");
        }

        void Compare(string book, IReadOnlyCollection<string> sagas)
        {
            faults.AddRange(sagas.Except(completed).Select(saga => $"{book} has {saga}, which did not complete"));
            faults.AddRange(completed.Except(sagas).Select(saga => $"{book} misses {saga}, which completed"));
        }
    }

    /// <summary>Waits until no order is under way; the ids of those that completed.</summary>
    private async Task<HashSet<string>> CompletedAsync()
    {
        for (var patience = Stopwatch.StartNew(); ; await Task.Delay(TimeSpan.FromMilliseconds(200), _stop.Token))
        {
            try
            {
                var (completed, open) = await ListAsync();
                if (open == 0) return completed;
                if (patience.Elapsed > TimeSpan.FromSeconds(90)) throw new TimeoutException($"{open} orders have not ended after 90 s. Look at them in the dashboard.");
            }
            catch (Exception e) when (IsAway(e) && patience.Elapsed < TimeSpan.FromSeconds(90))
            {
                // As above.
            }
        }
    }

    private async Task<(HashSet<string> Completed, int Open)> ListAsync()
    {
        var (completed, open, cursor) = (new HashSet<string>(), 0, (string?)null);
        do
        {
            var page = await _http.GetFromJsonAsync<JsonElement>($"/api/v1/sagas?limit=500{(cursor is null ? "" : "&cursor=" + Uri.EscapeDataString(cursor))}", _stop.Token);
            foreach (var saga in page.GetProperty("items").EnumerateArray())
            {
                var status = saga.GetProperty("status").GetString();
                if (status == "Completed") completed.Add(saga.GetProperty("id").GetString()!);
                else if (status != "Compensated") open++;
            }
            cursor = page.GetProperty("next").GetString();
        }
        while (cursor is not null);
        return (completed, open);
    }

    private async Task StopAskedAsync()
    {
        Console.WriteLine("\nPlace orders of your own. Ctrl-C stops everything.");
        // A terminal that closes says so by a signal.
        var atEnd = Console.IsInputRedirected ? Task.Run(() => Console.In.ReadToEnd()) : Task.Delay(Timeout.Infinite);
        await atEnd.WaitAsync(_stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        _stop.Cancel();
    }

    private async Task StopAllAsync()
    {
        Console.WriteLine("Stopping …");
        Child[] services, servers;
        lock (_stop)
        {
            _stop.Cancel();
            (services, servers) = ([.. _services], [.. _servers]);
        }
        await Task.WhenAll(services.Select(child => child.StopAsync("TERM")));
        await Task.WhenAll(servers.Select(child => child.StopAsync("KILL")));      // their data goes with them
        Directory.Delete(_data, recursive: true);
        Console.WriteLine("Everything is stopped.");
    }

    private static string Counted(IEnumerable<string> words) => string.Join(", ", words.GroupBy(word => word).OrderByDescending(group => group.Count()).Select(group => $"{group.Count()} {group.Key}")) is { Length: > 0 } some ? some : "none";

    public void Dispose()
    {
        _http.Dispose();
        _stop.Dispose();
    }
}
