// The standalone host: REST, documentation, the dashboard, the journal or Redis, RabbitMQ if wanted, and definitions in JSON. Configuration, nothing else.
//
//   dotnet run --project src/Sagas.Server -- --urls http://127.0.0.1:5080 --Sagas:Journal:Path data
//   dotnet run --project src/Sagas.Server -- verify transfer.json          (the explorer's verdict on a definition; starts nothing)

using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.Options;
using Sagas.AspNetCore;
using Sagas.MassTransit;
using Sagas.Redis;
using Sagas.Runtime;
using Sagas.Server;

if (args is ["verify", ..]) return VerifyCommand.Run(args[1..], Console.Out, Console.Error);
try
{
    var builder = WebApplication.CreateBuilder(args);
    // At Information the web server logs each request twice; who wants that says so in Logging:LogLevel.
    builder.Configuration.Sources.Insert(0, new MemoryConfigurationSource
    {
        InitialData = new Dictionary<string, string?> { ["Logging:LogLevel:Microsoft.AspNetCore"] = "Warning", ["Logging:LogLevel:Microsoft.Hosting.Lifetime"] = "Warning" },
    });
    if (Settings.FaultsOf(builder.Configuration) is { Count: > 0 } faults) throw new OptionsValidationException("Sagas", typeof(ServerOptions), faults);
    var server = builder.Configuration.GetSection("Sagas").Get<ServerOptions>() ?? new ServerOptions();

    // What goes wrong at the start is said below, in a sentence.
    builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None).AddFilter("Microsoft.AspNetCore.Server.Kestrel", level => level is LogLevel.Warning or LogLevel.Error);
    if (Settings.NamesNoAddress(builder.Configuration)) builder.WebHost.UseUrls(ServerOptions.DefaultUrl);
    if (!server.AllowRemote) Loopback.Only(builder.Services);
    var redis = builder.Configuration["Sagas:Redis:Connection"];
    var hasBus = builder.Configuration.GetSection("Sagas:RabbitMq").Exists();
    builder.Services.AddSagas(sagas =>
    {
        if (hasBus) sagas.UseRabbitMq();
        if (!string.IsNullOrWhiteSpace(redis)) sagas.UseRedis();
        else sagas.UseJournal(journal =>
        {
            if (journal.Path.Length == 0) journal.Path = ServerOptions.DefaultJournal;
        });
    });

    await using var app = builder.Build();
    app.MapSagas();
    Callbacks.ToThisHost(app);
    await app.StartAsync();
    var store = string.IsNullOrWhiteSpace(redis) ? $"journal in {Path.GetFullPath(app.Services.GetRequiredService<IOptions<JournalStoreOptions>>().Value.Path)}"
        : $"state in Redis, node {app.Services.GetRequiredService<IOptions<SagasOptions>>().Value.Node}";
    var bus = hasBus ? $"; RabbitMQ at {app.Services.GetRequiredService<IOptions<RabbitMqOptions>>().Value}" : "";
    Console.WriteLine($"Sagas listens at {string.Join(" and ", app.Urls)}   ({store}{bus}; the dashboard at /, the API at /swagger)");
    await app.WaitForShutdownAsync();
    return 0;
}
catch (OptionsValidationException e)
{
    Console.Error.WriteLine(e.Failures.Count() == 1 ? $"Sagas cannot start: {e.Failures.First()}" : $"Sagas cannot start:{string.Concat(e.Failures.Select(fault => "\n  - " + fault))}");
    return 1;
}
catch (IOException e) when (e.InnerException is AddressInUseException)
{
    Console.Error.WriteLine($"Sagas cannot start: {e.Message} Give another address: --urls http://127.0.0.1:5081");
    return 1;
}
catch (Exception e)
{
    Console.Error.WriteLine($"Sagas cannot start: {e.Message}");
    return 1;
}

/// <summary>Participants that answer 202 are told this host's address, unless the configuration names one that they reach it by.</summary>
internal static class Callbacks
{
    public static void ToThisHost(WebApplication app)
    {
        var options = app.Services.GetRequiredService<IOptions<SagasOptions>>().Value;
        if (options.CallbackBaseUrl is not null) return;
        // At once, for the sagas that go on before the host listens; and then as it turned out, for a port that the system chose.
        options.CallbackBaseUrl = First(app.Configuration["urls"]?.Split(';') ?? []);
        app.Lifetime.ApplicationStarted.Register(() => options.CallbackBaseUrl = First(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()?.Addresses ?? []));
    }

    private static Uri? First(IEnumerable<string> urls) =>
        urls.Select(url => Uri.TryCreate(url, UriKind.Absolute, out var parsed) && parsed.IsLoopback && parsed.Port != 0 ? parsed : null).FirstOrDefault(url => url is not null);
}
