// Money transfers between two banks over a bad network: the whole of it in one command.
//
//   dotnet run --project examples/Bank [-- --transfers 1000 --data data --port 5080]      (--transfers 0: waits for yours)
//
//   server :5080 ─▶ bad network :5081 ─▶ payer's bank, C# (PayerBank.cs)
//                              :5082 ─▶ payee's bank, plain Node (payee.mjs)

using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Bank;
using Sagas.AspNetCore;
using Sagas.Participants;
using Sagas.Runtime;

var settings = new ConfigurationBuilder().AddCommandLine(args).Build();
var data = Path.GetFullPath(settings["data"] ?? "data");
var transfers = settings.GetValue("transfers", 1000);
var seed = settings.GetValue("seed", Random.Shared.Next());
var ports = settings.GetValue("port", 5080) is > 0 and var port ? [port, port + 1, port + 2] : FreePorts(3);
Directory.CreateDirectory(data);

using var accounts = new Accounts(Path.Combine(data, "payer.jsonl"));
await Demo.OpenAccountsAsync(accounts);

// The payer's bank: handlers in C#, served over HTTP with the barrier in front.
var payer = Host(0);
payer.Services.AddSingleton(accounts);
payer.Services.AddSagaParticipants(p => p.Add<PayerBank>("payer").UseFileBarrier(Path.Combine(data, "payer-barrier")));
await using var payerBank = payer.Build();
payerBank.MapSagaParticipants();

// The payee's bank: a process of its own, in another language.
var payeePort = FreePorts(1)[0];
using var payeeBank = StartNode("payee.mjs", $"{payeePort}", Path.Combine(data, "payee.jsonl"));
if (payeeBank is null)
{
    Console.Error.WriteLine("The payee's bank needs node (18 or later), which is not installed or not in PATH. Install it from https://nodejs.org or by 'apt install nodejs', and start again.");
    return 1;
}

// The server: no bus, no C# definition; what it runs comes over REST.
var sagas = Host(ports[0]);
sagas.Services.AddSagas(s => s.UseJournal(Path.Combine(data, "sagas")));
await using var server = sagas.Build();
server.MapSagas();

var network = new BadNetwork(seed);
await using var roads = Host(ports[1], ports[2]).Build();
try
{
    await payerBank.StartAsync();
    var (toPayer, toPayee) = (network.To(new Uri(payerBank.Urls.First())), network.To(new Uri($"http://127.0.0.1:{payeePort}")));
    roads.Run(http => http.Connection.LocalPort == ports[1] ? toPayer(http) : toPayee(http));
    await roads.StartAsync();
    await server.StartAsync();
}
catch (IOException e) when (e.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException)
{
    Console.Error.WriteLine($"{e.Message} Bank takes three ports from 5080; give others: --port 6080");
    return 1;
}
catch (Sagas.Journal.JournalLockedException e)
{
    Console.Error.WriteLine($"{e.Message} For Bank: --data other.");
    return 1;
}
Console.WriteLine($"Bank: server at {server.Urls.First()}, data in {data}, seed {seed}");
using var demo = new Demo(new Uri(server.Urls.First()), network);
var definition = await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "transfer.json"));
var addsUp = false;
try
{
    await demo.PutAsync(definition.Replace("127.0.0.1:5081", $"127.0.0.1:{ports[1]}").Replace("127.0.0.1:5082", $"127.0.0.1:{ports[2]}"));
    if (transfers > 0) await demo.RunAsync(transfers, seed);
    else
    {
        Console.WriteLine($"""
            Start transfers of your own; the network stays as it is. Ctrl+C audits and ends.
              curl -X POST '{server.Urls.First()}/api/v1/definitions/transfer/sagas?wait=10' -H 'Content-Type: application/json' -d '{"{"}"from":"payer-01","to":"payee-01","amount":5{"}"}'
            """);
        await Demo.StopAskedAsync();
    }
    addsUp = await demo.AuditAsync(data);
}
catch (Exception e) when (e is InvalidOperationException or TimeoutException or HttpRequestException)
{
    Console.Error.WriteLine(e.Message);
}
await server.StopAsync();
await roads.StopAsync();
payeeBank.StandardInput.Close();
await payeeBank.WaitForExitAsync();
return addsUp ? 0 : 1;

static WebApplicationBuilder Host(params int[] ports)
{
    var builder = WebApplication.CreateSlimBuilder();
    builder.Logging.SetMinimumLevel(LogLevel.None);     // the endings below fail on purpose
    builder.WebHost.UseUrls([.. ports.Select(port => $"http://127.0.0.1:{port}")]);
    return builder;
}

static int[] FreePorts(int count)
{
    var taken = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
    foreach (var listener in taken) listener.Start();
    var ports = taken.Select(listener => ((IPEndPoint)listener.LocalEndpoint).Port).ToArray();
    foreach (var listener in taken) listener.Dispose();
    return ports;
}

static Process? StartNode(string script, params string[] arguments)
{
    try
    {
        var node = Process.Start(new ProcessStartInfo("node", [Path.Combine(AppContext.BaseDirectory, script), .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        return node.StandardOutput.ReadLine() == "ready" ? node : throw new InvalidOperationException("The payee's bank did not start; what it said stands above.");
    }
    catch (System.ComponentModel.Win32Exception)
    {
        return null;
    }
}
