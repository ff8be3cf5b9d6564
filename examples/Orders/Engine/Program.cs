using Microsoft.Extensions.Options;
using Orders;
using Sagas.AspNetCore;
using Sagas.MassTransit;
using Sagas.Redis;
using Sagas.Runtime;

try
{
    var builder = WebApplication.CreateBuilder(args);
    builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
    builder.Services.AddSagas(s => s.AddSaga<PlaceOrder>().UseRedis().UseRabbitMq());
    builder.WebHost.UseUrls(builder.Configuration["urls"] ?? "http://127.0.0.1:5080");
    var app = builder.Build();
    app.MapSagas();
    await app.StartAsync();
    Console.WriteLine($"engine is ready: {app.Urls.First()}");
    await app.WaitForShutdownAsync();
    return 0;
}
catch (Exception e) when (e is OptionsValidationException or StoreUnavailableException or IOException)
{
    Console.Error.WriteLine($"engine cannot start: {e.Message}");
    return 1;
}
