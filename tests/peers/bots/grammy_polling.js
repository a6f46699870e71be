// An echo bot of grammY, by long polling.

const { Bot, InlineKeyboard, InputFile } = require("grammy");

const root = process.env.BOT_API_ROOT;
const bot = new Bot(process.env.BOT_TOKEN, { client: { apiRoot: root } });

bot.command("choose", async (ctx) => {
  const keyboard = new InlineKeyboard().text("tea", "tea").text("coffee", "coffee");
  await ctx.reply("Which one?", { reply_markup: keyboard });
});

bot.on("callback_query:data", async (ctx) => {
  await ctx.answerCallbackQuery("Noted");
  await ctx.editMessageText(`You chose ${ctx.callbackQuery.data}`);
});

bot.command("file", async (ctx) => {
  const note = new InputFile(Buffer.from(ctx.match), "note.txt");
  const sent = await ctx.replyWithDocument(note, { caption: "your note" });
  const stored = await ctx.api.getFile(sent.document.file_id);
  const response = await fetch(`${root}/file/bot${bot.token}/${stored.file_path}`);
  await ctx.reply(`${sent.document.file_name}: ${await response.text()}`);
});

bot.on("message:text", async (ctx) => {
  await ctx.reply(ctx.message.text);
});

process.once("SIGINT", () => bot.stop());
process.once("SIGTERM", () => bot.stop());
bot.start();
